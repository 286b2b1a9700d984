//! The changes of one type, and the old file streamed into a new one with them.
//!
//! Hides how changes find their rows. In memory: the keys that changes name and which changes are open; the changes
//! themselves lie in a [`Spill`], and of the file only one row is held. What becomes of a change is told as soon as its
//! row has passed, so that the ledger is written beside the file. A first file needs no looking for rows: its changes are
//! written as they come. Rows nobody changes are copied byte for byte, as are the cells of columns that are not ours.
//! Deliberately knows nothing of files and renames.

use std::collections::HashMap;
use std::io::{self, Write};
use std::path::Path;

use super::cells::Form;
use super::rows::{Row, write_field};
use super::sheet::{BOM, Layout, Sheet, key_of};
use super::{cells, ids};
use crate::error::{Context, Result};
use crate::plan::change::{Action, Change, TypeSpec};
use crate::plan::datum::Datum;
use crate::spill::{Place, Spill, SpillWriter};
use crate::target::{Outcome, Outcomes};

/// The changes of one type, looked up by the rows they are about.
pub struct Batch<'a> {
    ty: &'a TypeSpec,
    /// The file, for messages.
    path: &'a Path,
    changes: Spill<Change>,
    places: Vec<Place>,
    fates: Vec<Fate>,
    keys: HashMap<Box<str>, Tracked>,
}

/// What became of a change.
enum Fate {
    Open,
    /// Its outcome is told.
    Told,
    /// Done; the row's new id where it has one.
    Done(Option<Box<str>>),
    Rejected(Box<str>),
}

/// What is known of one key that changes name.
#[derive(Default)]
struct Tracked {
    /// Rows with this key so far in the old file, and in the new one.
    before: u32,
    after: u32,
    create: Option<u32>,
    /// Which change is about the how-manieth row with this key.
    changes: Vec<(u32, u32)>,
}

impl<'a> Batch<'a> {
    /// Takes all changes, and rejects those that cannot be written whatever the file holds.
    pub fn collect(
        ty: &'a TypeSpec,
        path: &'a Path,
        changes: &mut dyn Iterator<Item = Result<Change>>,
    ) -> Result<Batch<'a>> {
        let mut spill = SpillWriter::new()?;
        let (mut places, mut fates) = (Vec::new(), Vec::new());
        let mut keys: HashMap<Box<str>, Tracked> = HashMap::new();
        for change in changes {
            let change = change?;
            places.push(spill.push(&change)?);
            fates.push(judge(ty, &mut keys, &change, fates.len() as u32));
        }
        Ok(Batch { ty, path, changes: spill.finish()?, places, fates, keys })
    }

    /// Writes the first file of a type, with the outcome of each change as it comes.
    pub fn first(
        ty: &'a TypeSpec,
        path: &'a Path,
        changes: &mut dyn Iterator<Item = Result<Change>>,
        out: &mut impl Write,
        outcomes: &mut Outcomes<'_>,
    ) -> Result<()> {
        let mut batch = Batch::collect(ty, path, &mut std::iter::empty())?;
        let plan = Columns::new(ty, None);
        plan.write_header(ty, out).failing(|| batch.writing())?;
        for (index, change) in (0u32..).zip(changes) {
            let change = change?;
            let fate = match judge(ty, &mut batch.keys, &change, index) {
                Fate::Open => batch.append(&change, &plan, out)?.0,
                settled => settled,
            };
            outcomes(index, &change, batch.outcome(&change, fate))?;
        }
        Ok(())
    }

    /// Writes the new file, with one outcome for each change; returns whether it says anything else than the old one.
    pub fn rewrite(
        &mut self,
        sheet: &mut Sheet<'_>,
        out: &mut impl Write,
        outcomes: &mut Outcomes<'_>,
    ) -> Result<bool> {
        let mut changed = false;
        let plan = Columns::new(self.ty, Some(sheet.layout.clone()));
        plan.write_header(self.ty, out).failing(|| self.writing())?;
        let mut row = Row::default();
        while sheet.next(&mut row)? {
            changed |= self.pass(sheet, &row, &plan, out, outcomes)?;
        }
        for index in 0..self.fates.len() as u32 {
            let fate = self.told(index);
            if matches!(fate, Fate::Told) {
                continue;
            }
            let change = self.change(index)?;
            let fate = match fate {
                Fate::Open => {
                    let (fate, appended) = self.append(&change, &plan, out)?;
                    changed |= appended;
                    fate
                }
                settled => settled,
            };
            outcomes(index, &change, self.outcome(&change, fate))?;
        }
        Ok(changed)
    }

    /// Copies, changes or leaves out one row; returns whether it changed.
    fn pass(
        &mut self,
        sheet: &Sheet<'_>,
        row: &Row,
        plan: &Columns,
        out: &mut impl Write,
        outcomes: &mut Outcomes<'_>,
    ) -> Result<bool> {
        let key = key_of(self.ty, |attribute| sheet.value(row, attribute));
        let mut about = None;
        if let Some(tracked) = self.keys.get_mut(key.as_str()) {
            tracked.before += 1;
            let nth = tracked.before;
            about = tracked.changes.iter().find(|(at, _)| *at == nth).map(|(_, index)| *index);
        }
        let Some(index) = about else {
            plan.write_kept(row, out).failing(|| self.writing())?;
            self.settle_row(&key, |attribute| sheet.value(row, attribute), outcomes)?;
            return Ok(false);
        };
        let change = self.change(index)?;
        self.told(index);
        if change.action == Action::Delete {
            outcomes(index, &change, self.outcome(&change, Fate::Done(None)))?;
            return Ok(true);
        }
        let mut written = wanted(self.ty, &change);
        written.retain(|(at, value)| *value != sheet.value(row, *at));
        let value =
            |attribute: usize| find(&written, attribute).cloned().unwrap_or_else(|| sheet.value(row, attribute));
        let id = self.settle_row(&key_of(self.ty, value), value, outcomes)?;
        let new = self.cells(plan, written);
        if new.is_empty() {
            plan.write_kept(row, out).failing(|| self.writing())?;
        } else {
            plan.write_changed(row, &new, out).failing(|| self.writing())?;
        }
        outcomes(index, &change, self.outcome(&change, Fate::Done(Some(id.into()))))?;
        Ok(!new.is_empty())
    }

    /// Counts a row of the new file and says its id. A create whose row is there already has nothing to do.
    fn settle_row(&mut self, key: &str, value: impl Fn(usize) -> Datum, outcomes: &mut Outcomes<'_>) -> Result<String> {
        let Some(tracked) = self.keys.get_mut(key) else { return Ok(ids::id(key, 1)) };
        tracked.after += 1;
        let id = ids::id(key, tracked.after);
        let Some(create) = tracked.create.take() else { return Ok(id) };
        let change = self.change(create)?;
        self.told(create);
        let same = wanted(self.ty, &change).into_iter().all(|(at, after)| value(at) == after);
        let fate = if same {
            Fate::Done(Some(id.as_str().into()))
        } else {
            let reason = format!("a row with the key {key:?} and other values is there; a second one would double it");
            Fate::Rejected(reason.into())
        };
        outcomes(create, &change, self.outcome(&change, fate))?;
        Ok(id)
    }

    fn change(&self, index: u32) -> Result<Change> {
        self.changes.get(self.places[index as usize])
    }

    /// Notes that the outcome of a change is told, and says what had become of it until then.
    fn told(&mut self, index: u32) -> Fate {
        std::mem::replace(&mut self.fates[index as usize], Fate::Told)
    }

    /// Settles a change that no row of the old file was about: a create is appended. Says whether that wrote a row.
    fn append(&mut self, change: &Change, plan: &Columns, out: &mut impl Write) -> Result<(Fate, bool)> {
        match change.action {
            Action::Create => {}
            // The row is gone, which is what was wanted.
            Action::Delete => return Ok((Fate::Done(None), false)),
            _ => return Ok((Fate::Rejected("the file has no such row any more".into()), false)),
        }
        let values = wanted(self.ty, change);
        let key = key_of(self.ty, |attribute| find(&values, attribute).cloned().unwrap_or_default());
        let nth = self.keys.get_mut(key.as_str()).map_or(1, |tracked| {
            tracked.after += 1;
            tracked.after
        });
        let new = self.cells(plan, values);
        plan.write_changed(&Row::default(), &new, out).failing(|| self.writing())?;
        Ok((Fate::Done(Some(ids::id(&key, nth).into())), true))
    }

    /// The cells of values that are written, by column.
    fn cells(&self, plan: &Columns, values: Vec<(usize, Datum)>) -> Vec<(usize, String)> {
        let cell = |(at, value): (usize, Datum)| {
            let cell = cells::to_cell(Form::of(&self.ty.attributes[at]), value);
            (plan.columns[at], cell.expect("changes with values that are not known were rejected on collecting"))
        };
        values.into_iter().map(cell).collect()
    }

    fn writing(&self) -> String {
        format!("cannot write the new state of {}, which was left as it is", self.path.display())
    }

    fn outcome(&self, change: &Change, fate: Fate) -> Outcome {
        match fate {
            Fate::Done(id) => {
                let named = |(at, value): (usize, Datum)| (self.ty.attributes[at].name.clone(), value);
                Outcome::Done {
                    target_id: id.map_or_else(|| change.target_id.clone().unwrap_or_default(), String::from),
                    read_back: wanted(self.ty, change).into_iter().map(named).collect(),
                }
            }
            Fate::Rejected(reason) => Outcome::Rejected { reason: reason.into() },
            Fate::Open | Fate::Told => Outcome::NotAttempted { reason: "the file was not rewritten".to_string() },
        }
    }
}

fn position(ty: &TypeSpec, name: &str) -> Option<usize> {
    ty.attributes.iter().position(|attribute| attribute.name == name)
}

/// What a change writes, by attribute, as the file gives it back.
fn wanted(ty: &TypeSpec, change: &Change) -> Vec<(usize, Datum)> {
    if !change.action.writes() {
        return Vec::new();
    }
    let written = change.attributes.iter().filter_map(|written| Some((position(ty, &written.name)?, &written.after)));
    written.map(|(at, value)| (at, cells::normalise(Form::of(&ty.attributes[at]), value.clone()))).collect()
}

/// A row has few columns: searching beats hashing.
fn find<T>(values: &[(usize, T)], at: usize) -> Option<&T> {
    values.iter().find(|(other, _)| *other == at).map(|(_, value)| value)
}

/// The key that a change writes; the empty text when it does not write all of it.
fn written_key(ty: &TypeSpec, change: &Change) -> String {
    key_of(ty, |at| {
        let written = change.attributes.iter().find(|written| written.name == ty.attributes[at].name);
        written.map_or(Datum::Empty, |written| cells::normalise(Form::of(&ty.attributes[at]), written.after.clone()))
    })
}

/// Why a change cannot be written, whatever the file holds.
fn fault(ty: &TypeSpec, change: &Change) -> Option<String> {
    if !change.action.writes() {
        return None;
    }
    for attribute in &change.attributes {
        let name = &attribute.name;
        let Some(at) = position(ty, name) else {
            return Some(format!("{:?} has no attribute {name:?}", ty.name));
        };
        if !attribute.after.is_known() {
            return Some(format!("the value for {name:?} is not known"));
        }
        let empty = || cells::normalise(Form::of(&ty.attributes[at]), attribute.after.clone()).is_empty();
        if ty.key.contains(&at) && empty() {
            return Some(format!("{name:?} belongs to the key and cannot be empty"));
        }
    }
    let missing = |at: &&usize| !change.attributes.iter().any(|written| written.name == ty.attributes[**at].name);
    match change.action {
        Action::Create => {
            let at = ty.key.iter().find(missing)?;
            Some(format!("there is no value for {:?}, which belongs to the key", ty.attributes[*at].name))
        }
        _ if change.target_id.is_none() => Some("the plan does not say which row it is about".to_string()),
        _ => None,
    }
}

/// Rejects a change that cannot be written, and notes which rows any other is about.
fn judge(ty: &TypeSpec, keys: &mut HashMap<Box<str>, Tracked>, change: &Change, index: u32) -> Fate {
    match fault(ty, change) {
        Some(reason) => Fate::Rejected(reason.into()),
        None => track(ty, keys, change, index),
    }
}

/// Notes which rows a change is about.
fn track(ty: &TypeSpec, keys: &mut HashMap<Box<str>, Tracked>, change: &Change, index: u32) -> Fate {
    if !change.action.writes() {
        return Fate::Done(None);
    }
    let key = written_key(ty, change);
    if change.action == Action::Create {
        let tracked = keys.entry(key.into()).or_default();
        if tracked.create.is_some() {
            return Fate::Rejected("the plan creates another row with the same key".into());
        }
        tracked.create = Some(index);
        return Fate::Open;
    }
    if !key.is_empty() {
        // The row gets this key: its id depends on how many rows have it.
        keys.entry(key.into()).or_default();
    }
    let (key, nth) = ids::parse(change.target_id.as_deref().unwrap_or_default());
    let tracked = keys.entry(key.into()).or_default();
    if tracked.changes.iter().any(|(other, _)| *other == nth) {
        return Fate::Rejected("the plan holds another change of the same row".into());
    }
    tracked.changes.push((nth, index));
    Fate::Open
}

/// The new file's columns: those of the old one in their order, then the attributes it had no column for.
struct Columns {
    layout: Layout,
    /// The column of each attribute.
    columns: Vec<usize>,
    /// Attributes that get a column of their own behind the others.
    added: Vec<usize>,
}

impl Columns {
    fn new(ty: &TypeSpec, old: Option<Layout>) -> Columns {
        // A new file has what most importers expect; a byte order mark added in a spreadsheet is kept later on.
        let layout = old.unwrap_or_else(|| Layout {
            bom: false,
            delimiter: b',',
            line_end: "\n".to_string(),
            header: String::new(),
            width: 0,
            names: Vec::new(),
            columns: vec![None; ty.attributes.len()],
        });
        let (mut columns, mut added) = (Vec::new(), Vec::new());
        for (attribute, column) in layout.columns.iter().enumerate() {
            columns.push(column.unwrap_or(layout.width + added.len()));
            if column.is_none() {
                added.push(attribute);
            }
        }
        Columns { layout, columns, added }
    }

    fn width(&self) -> usize {
        self.layout.width + self.added.len()
    }

    fn write_header(&self, ty: &TypeSpec, out: &mut impl Write) -> io::Result<()> {
        if self.layout.bom {
            out.write_all(BOM.as_bytes())?;
        }
        out.write_all(self.layout.header.as_bytes())?;
        for (index, attribute) in self.added.iter().enumerate() {
            if self.layout.width + index > 0 {
                out.write_all(&[self.layout.delimiter])?;
            }
            let name = cells::guard(&cells::clean(&ty.attributes[*attribute].name));
            write_field(out, &name, self.layout.delimiter)?;
        }
        out.write_all(self.layout.line_end.as_bytes())
    }

    /// A row as it was; with new columns, the delimiters for them.
    fn write_kept(&self, row: &Row, out: &mut impl Write) -> io::Result<()> {
        if self.added.is_empty() {
            out.write_all(row.body().as_bytes())?;
        } else {
            // Empty fields beyond the header would shift the new columns.
            out.write_all(row.raw_until(self.layout.width).as_bytes())?;
            for _ in row.len().min(self.layout.width)..self.width() {
                out.write_all(&[self.layout.delimiter])?;
            }
        }
        out.write_all(self.line_end(row).as_bytes())
    }

    /// A row with some cells replaced, by column; the others stay as they stand in the file.
    fn write_changed(&self, row: &Row, new: &[(usize, String)], out: &mut impl Write) -> io::Result<()> {
        for column in 0..self.width() {
            if column > 0 {
                out.write_all(&[self.layout.delimiter])?;
            }
            match find(new, column) {
                Some(text) => write_field(out, text, self.layout.delimiter)?,
                None => out.write_all(row.raw(column).as_bytes())?,
            }
        }
        out.write_all(self.line_end(row).as_bytes())
    }

    fn line_end<'r>(&'r self, row: &'r Row) -> &'r str {
        if row.line_end().is_empty() { &self.layout.line_end } else { row.line_end() }
    }
}
