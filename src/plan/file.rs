//! The saved plan: one JSON document, one change per line, written and read as a stream.
//!
//! ```text
//! {"format":"plan/1","id":"3fa9c1d2",…,"changes":[
//! {"action":"create",…},
//! {"action":"update",…}
//! ],
//! "notes":[
//! {"kind":"conflict",…}
//! ],
//! "checksum":"sha256:…"}
//! ```
//!
//! Hides the layout, the checksum and the id that is its beginning. Memory follows the number of changes, not their
//! size. Equal plans give equal bytes; a reader may be given the same document with other white space or another
//! order of members (a person ran it through `jq`). The checksum finds accidents and edits; it is no signature, and
//! deliberately nothing here judges whether a plan is stale or may be applied.

use std::cell::Cell;
use std::fs;
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::path::Path;

use serde::Deserialize;
use serde::de::{self, DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use sha2::{Digest, Sha256};

use super::change::{Change, Note};
use super::{Header, Plan};
use crate::error::{Context, Error, Result};
pub(crate) use crate::json::line as json_line;
use crate::spill::{Place, SpillWriter};

/// The format that is written and the only one that is read.
pub const FORMAT: &str = "plan/1";

/// Hex digits of the checksum that make up a plan's id.
const ID_DIGITS: usize = 8;

/// Gives the plan its format and its id: the first eight hex digits of a SHA-256 over everything else in it.
pub fn identify(plan: &mut Plan) -> Result<()> {
    plan.header.format = FORMAT.to_string();
    let mut sums = Sums::default();
    let mut line = Vec::new();
    plan.each_line(&mut |change| {
        sums.change(change);
        Ok(())
    })?;
    for note in plan.notes() {
        sums.note(json_line(note, &mut line)?);
    }
    plan.header.id = sums.finish(&plan.header)?[..ID_DIGITS].to_string();
    Ok(())
}

/// Writes the plan as one document. It must have been through [`identify`] and not changed since; without its private
/// values ([`Plan::rewritten`]) it is written without a checksum, and none reads it back.
pub fn write(plan: &Plan, mut to: impl Write) -> Result<()> {
    let failed = || format!("cannot write plan {}", plan.header.id);
    let mut sums = Sums::default();
    let mut line = Vec::new();
    let header = json_line(&plan.header, &mut line)?;
    // The header's closing brace gives way to the members that follow.
    to.write_all(&header[..header.len() - 1]).failing(failed)?;
    to.write_all(b",\"changes\":[").failing(failed)?;
    let mut between: &[u8] = b"\n";
    plan.each_line(&mut |change| {
        to.write_all(between).and_then(|()| to.write_all(change)).failing(failed)?;
        between = b",\n";
        sums.change(change);
        Ok(())
    })?;
    to.write_all(b"\n],\n\"notes\":[").failing(failed)?;
    for (index, note) in plan.notes().iter().enumerate() {
        let note = json_line(note, &mut line)?;
        to.write_all(if index == 0 { b"\n" } else { b",\n" }).failing(failed)?;
        to.write_all(note).failing(failed)?;
        sums.note(note);
    }
    if plan.shortened {
        to.write_all(b"\n]}\n").failing(failed)?;
        return to.flush().failing(failed);
    }
    let checksum = sums.finish(&plan.header)?;
    if !checksum.starts_with(&plan.header.id) || plan.header.id.len() != ID_DIGITS {
        return Err(Error::failed("a plan was changed after it got its id (a defect of this program)"));
    }
    write!(to, "\n],\n\"checksum\":\"sha256:{checksum}\"}}\n").failing(failed)?;
    to.flush().failing(failed)
}

/// Writes the plan to a file that only its owner can read (it holds people's data): whole or not at all.
pub fn save(plan: &Plan, path: &Path) -> Result<()> {
    let failed = || format!("cannot save the plan as {}", path.display());
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    // A temporary file is made with mode 0600, and renaming keeps it.
    let mut file = tempfile::Builder::new().prefix(".plan-").tempfile_in(folder).failing(failed)?;
    write(plan, BufWriter::with_capacity(1 << 18, file.as_file_mut()))?;
    file.as_file().sync_all().failing(failed)?;
    file.persist(path).failing(failed)?;
    fs::File::open(folder).and_then(|folder| folder.sync_all()).failing(failed)
}

/// Reads a saved plan, or says why it is none that can be trusted.
pub fn read(path: &Path) -> Result<Plan> {
    let name = path.display().to_string();
    match fs::File::open(path) {
        Ok(file) => read_from(BufReader::with_capacity(1 << 18, file), &name),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Err(Error::usage(format!("there is no file {name}"))
            .hint("Give the file that `entra-import plan JOB --out FILE` wrote.")),
        Err(error) => Err(Error::failed(format!("cannot read the plan {name}")).because(error)),
    }
}

/// As [`read`], from anything; `name` is what messages call it.
pub fn read_from(from: impl Read, name: &str) -> Result<Plan> {
    let mut reading = Reading::new(name)?;
    let ended = Cell::new(false);
    let mut json = serde_json::Deserializer::from_reader(Ending { from, ended: &ended });
    let read = Document(&mut reading).deserialize(&mut json).and_then(|()| json.end());
    if let Some(refusal) = reading.refusal.take() {
        return Err(refusal);
    }
    match read {
        Ok(()) => reading.finish(),
        Err(error) if error.is_io() => Err(Error::failed(format!("cannot read the plan {name}")).because(error)),
        Err(_) if !reading.header.contains_key("format") => Err(not_a_plan(name)),
        Err(_) if ended.get() => Err(Error::usage(format!("the plan {name} is cut off: its end is missing"))
            .hint("The disk was full or a copy was interrupted. Plan again.")),
        Err(error) => Err(damaged(name).because(error)),
    }
}

fn not_a_plan(name: &str) -> Error {
    Error::usage(format!("{name} is not a saved plan"))
        .hint("Give the file that `entra-import plan JOB --out FILE` wrote.")
}

fn damaged(name: &str) -> Error {
    Error::usage(format!("the plan {name} was edited by hand or is damaged, and is not applied"))
        .hint("Plan again; what should differ belongs into the job or a mapping.")
}

/// A reader that tells when its end was met: what ends there without being whole was cut off, in whatever words the
/// parser says it.
struct Ending<'a, R> {
    from: R,
    ended: &'a Cell<bool>,
}

impl<R: Read> Read for Ending<'_, R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let length = self.from.read(into)?;
        self.ended.set(self.ended.get() || (length == 0 && !into.is_empty()));
        Ok(length)
    }
}

/// The sums of the three parts, kept apart so that the order of the document's members does not matter.
#[derive(Default)]
struct Sums {
    changes: Sha256,
    notes: Sha256,
}

impl Sums {
    fn change(&mut self, line: &[u8]) {
        self.changes.update(line);
        self.changes.update(b"\n");
    }

    fn note(&mut self, line: &[u8]) {
        self.notes.update(line);
        self.notes.update(b"\n");
    }

    /// The checksum in hex. The id is left out, because it is made from the result.
    fn finish(self, header: &Header) -> Result<String> {
        let nameless = Header { id: String::new(), ..header.clone() };
        let mut line = Vec::new();
        let mut sum = Sha256::new();
        sum.update(Sha256::digest(json_line(&nameless, &mut line)?));
        sum.update(self.changes.finalize());
        sum.update(self.notes.finalize());
        Ok(sum.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
    }
}

/// What has been read of a document so far.
struct Reading {
    name: String,
    header: serde_json::Map<String, serde_json::Value>,
    changes: SpillWriter<Change>,
    /// Types in the order they were met; the header that numbers them may come last.
    types: Vec<String>,
    order: Vec<(u32, Place)>,
    notes: Vec<Note>,
    sums: Sums,
    line: Vec<u8>,
    checksum: Option<String>,
    /// Why the document is refused, where serde's own words would not do.
    refusal: Option<Error>,
}

impl Reading {
    fn new(name: &str) -> Result<Reading> {
        Ok(Reading {
            name: name.to_string(),
            header: serde_json::Map::new(),
            changes: SpillWriter::new()?,
            types: Vec::new(),
            order: Vec::new(),
            notes: Vec::new(),
            sums: Sums::default(),
            line: Vec::new(),
            checksum: None,
            refusal: None,
        })
    }

    fn take_change(&mut self, change: &Change) -> Result<()> {
        // A plan has a handful of types, and changes of one type stand together.
        let ty = match self.types.iter().rposition(|name| *name == change.ty) {
            Some(index) => index,
            None => {
                self.types.push(change.ty.clone());
                self.types.len() - 1
            }
        };
        let place = self.changes.push(change)?;
        self.sums.change(self.changes.line());
        self.order.push((ty as u32, place));
        Ok(())
    }

    fn take_member(&mut self, name: String, value: serde_json::Value) -> Result<()> {
        if name == "format" {
            self.check_format(value.as_str().unwrap_or_default())?;
        }
        match self.header.insert(name, value) {
            None => Ok(()),
            Some(_) => Err(damaged(&self.name)),
        }
    }

    fn check_format(&self, format: &str) -> Result<()> {
        match format {
            FORMAT => Ok(()),
            newer if newer.starts_with("plan/") => Err(Error::usage(format!(
                "the plan {} has the format {newer}, and this version of entra-import reads {FORMAT} only",
                self.name
            ))
            .hint("Apply it with the version that wrote it, or plan again with this one.")),
            _ => Err(not_a_plan(&self.name)),
        }
    }

    /// Puts the plan together when all of it was read, if its checksum is right.
    fn finish(self) -> Result<Plan> {
        let name = self.name;
        if !self.header.contains_key("format") {
            return Err(not_a_plan(&name));
        }
        let header: Header =
            serde_json::from_value(self.header.into()).map_err(|error| damaged(&name).because(error))?;
        let checksum = self.sums.finish(&header)?;
        let told = self.checksum.as_deref().and_then(|told| told.strip_prefix("sha256:"));
        if told != Some(&checksum) || header.id != checksum[..ID_DIGITS] {
            return Err(damaged(&name).cause("its checksum does not belong to its content"));
        }
        let index_of = |ty: &String| header.types.iter().position(|summary| summary.spec.name == *ty);
        let indexes: Option<Vec<usize>> = self.types.iter().map(index_of).collect();
        let indexes = indexes.ok_or_else(|| damaged(&name).cause("it changes a type that it does not describe"))?;
        let order = self.order.into_iter().map(|(met, place)| (indexes[met as usize] as u32, place)).collect();
        Ok(Plan::new(header, self.changes.finish()?, order, self.notes))
    }
}

/// The whole document, member by member.
struct Document<'a>(&'a mut Reading);

impl Document<'_> {
    /// Keeps our words for a refusal; what serde is told only ends the reading.
    fn or_refuse<E: de::Error>(&mut self, result: Result<()>) -> Result<(), E> {
        result.map_err(|refusal| {
            self.0.refusal = Some(refusal);
            E::custom("refused")
        })
    }
}

impl<'de> DeserializeSeed<'de> for Document<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<(), D::Error> {
        from.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Document<'_> {
    type Value = ();

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a saved plan")
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<(), A::Error> {
        let mut seen = [false; 3];
        while let Some(name) = map.next_key::<String>()? {
            let streamed = ["changes", "notes", "checksum"].iter().position(|member| *member == name);
            if let Some(index) = streamed
                && std::mem::replace(&mut seen[index], true)
            {
                let twice = damaged(&self.0.name);
                return self.or_refuse(Err(twice));
            }
            match streamed {
                Some(0) => map.next_value_seed(Each { document: &mut self, take: Reading::take_change })?,
                Some(1) => map.next_value_seed(Each { document: &mut self, take: Reading::take_note })?,
                Some(_) => self.0.checksum = Some(map.next_value()?),
                None => {
                    let value = map.next_value()?;
                    let taken = self.0.take_member(name, value);
                    self.or_refuse(taken)?;
                }
            }
        }
        Ok(())
    }
}

impl Reading {
    fn take_note(&mut self, note: &Note) -> Result<()> {
        self.sums.note(json_line(note, &mut self.line)?);
        self.notes.push(note.clone());
        Ok(())
    }
}

/// The elements of one array, one after the other.
struct Each<'a, 'r, T> {
    document: &'a mut Document<'r>,
    take: fn(&mut Reading, &T) -> Result<()>,
}

impl<'de, T: Deserialize<'de>> DeserializeSeed<'de> for Each<'_, '_, T> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<(), D::Error> {
        from.deserialize_seq(self)
    }
}

impl<'de, T: Deserialize<'de>> Visitor<'de> for Each<'_, '_, T> {
    type Value = ();

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("an array")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<(), A::Error> {
        while let Some(element) = elements.next_element::<T>()? {
            let taken = (self.take)(self.document.0, &element);
            self.document.or_refuse(taken)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::error::Exit;
    use crate::report::examples::{HOSTILE, everything, hostile, nothing};

    fn written(plan: &Plan) -> String {
        let mut bytes = Vec::new();
        write(plan, &mut bytes).unwrap();
        String::from_utf8(bytes).unwrap()
    }

    fn reread(text: &str) -> Result<Plan> {
        read_from(text.as_bytes(), "monday.plan")
    }

    /// Reads what must be refused and gives the words.
    fn refused(text: &str) -> String {
        let error = reread(text).err().expect("the plan must be refused");
        assert_eq!(error.exit, Exit::Usage);
        error.to_string()
    }

    #[test]
    fn a_plan_reads_back_as_it_was() {
        for plan in [everything(), nothing(), hostile(HOSTILE)] {
            let text = written(&plan);
            let back = reread(&text).unwrap();
            assert_eq!(back.header, plan.header);
            assert_eq!(back.notes(), plan.notes());
            let changes = |plan: &Plan| plan.changes().collect::<Result<Vec<_>>>().unwrap();
            assert_eq!(changes(&back), changes(&plan));
            for ty in 0..plan.header.types.len() {
                let of_type = |plan: &Plan| plan.changes_of(ty).collect::<Result<Vec<_>>>().unwrap();
                assert_eq!(of_type(&back), of_type(&plan));
            }
            assert_eq!(written(&back), text, "equal plans give equal bytes");
            serde_json::from_str::<serde_json::Value>(&text).unwrap();
        }
    }

    #[test]
    fn each_change_stands_on_a_line_of_its_own() {
        let text = written(&everything());
        assert_eq!(text.lines().filter(|line| line.starts_with("{\"action\"")).count(), everything().len());
    }

    #[test]
    fn white_space_and_the_order_of_members_do_not_matter() {
        let plan = everything();
        let value: serde_json::Value = serde_json::from_str(&written(&plan)).unwrap();
        // As `jq -S` would print it: "changes" and "checksum" now come before "format" and "types".
        let members = value.as_object().unwrap().iter().collect::<std::collections::BTreeMap<_, _>>();
        let pretty = serde_json::to_string_pretty(&members).unwrap();
        assert!(pretty.find("\"changes\"") < pretty.find("\"format\""));
        assert_eq!(written(&reread(&pretty).unwrap()), written(&plan));
    }

    #[test]
    fn the_id_follows_the_content_alone() {
        let (mut once, mut twice) = (everything(), everything());
        assert_eq!(once.header.id, twice.header.id);
        assert_eq!(once.header.id.len(), ID_DIGITS);
        identify(&mut once).unwrap();
        assert_eq!(once.header.id, twice.header.id, "naming it again changes nothing");
        twice.header.generation += 1;
        identify(&mut twice).unwrap();
        assert_ne!(once.header.id, twice.header.id);
    }

    #[test]
    fn a_plan_changed_after_it_got_its_id_is_not_written() {
        let mut plan = everything();
        plan.header.generation += 1;
        assert_eq!(write(&plan, io::sink()).unwrap_err().exit, Exit::Failed);
    }

    #[test]
    fn any_edit_is_noticed() {
        let text = written(&everything());
        for (from, to) in [
            ("\"Engineering\"", "\"Sales\""),
            ("\"generation\":41", "\"generation\":42"),
            ("\"action\":\"delete\"", "\"action\":\"forget\""),
            ("\"held\":true", "\"held\":false"),
            ("\"kind\":\"collision\"", "\"kind\":\"rejected\""),
            ("\"type\":\"Membership\"", "\"type\":\"User\""),
            ("\"checksum\":\"sha256:", "\"checksum\":\"sha256:0"),
            ("\"checksum\"", "\"comment\""),
            ("{\"format\"", "{\"notes\":[],\"format\""),
            ("\"job\":\"contoso\"", "\"job\":\"contoso\",\"job\":\"contoso\""),
        ] {
            assert!(text.contains(from), "{from}");
            let words = refused(&text.replacen(from, to, 1));
            assert!(words.contains("monday.plan was edited by hand or is damaged"), "{from}: {words}");
        }
        let id = everything().header.id;
        assert!(refused(&text.replacen(&id, "00000000", 1)).contains("checksum"));
    }

    #[test]
    fn a_plan_that_is_cut_off_says_so_wherever_it_ends() {
        let text = written(&everything());
        let format_ends = text.find(',').unwrap();
        for end in (format_ends + 1..text.trim_end().len()).step_by(37) {
            let Some(start) = text.get(..end) else { continue };
            let words = refused(start);
            assert!(words.contains("cut off"), "at {end}: {words}");
        }
    }

    #[test]
    fn other_files_are_refused_in_words() {
        for text in ["", "hello", "[]", "{}", "{\"a\":1}", "{\"format\":\"job/1\"}", "{\"format\":1}", "key = 1"] {
            assert!(refused(text).contains("monday.plan is not a saved plan"), "{text}");
        }
        assert!(refused("{\"format\":\"plan/2\",\"x\":[").contains("the format plan/2"));
        assert!(refused(&format!("{}x", written(&nothing()))).contains("damaged"));
        let missing = read(Path::new("no/such.plan")).err().expect("there is no such file");
        assert_eq!((missing.exit, missing.what.as_str()), (Exit::Usage, "there is no file no/such.plan"));
    }

    #[test]
    fn a_saved_plan_is_for_its_owner_alone_and_replaces_the_old_one_whole() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("monday.plan");
        fs::write(&path, "old").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        let plan = everything();
        save(&plan, &path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(read(&path).unwrap().header, plan.header);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "nothing else is left behind");

        let mut broken = everything();
        broken.header.generation += 1;
        save(&broken, &path).unwrap_err();
        assert_eq!(read(&path).unwrap().header, plan.header, "a failure leaves the old file");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
