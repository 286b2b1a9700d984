//! What is peculiar to CSV: files as people and spreadsheets leave them, and what rewriting does to them.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};

use tempfile::TempDir;

use super::*;
use crate::error::Exit;
use crate::plan::change::Action;
use crate::target::Outcome;
use crate::target::conformance::{System, change, conformance, create, done, id, people, person, read, stage, write};

/// A folder that is gone at the end of the test.
struct Folder(TempDir);

impl Folder {
    fn new() -> Folder {
        Folder(tempfile::tempdir().unwrap())
    }

    /// A folder with these people in it.
    fn with(bytes: impl AsRef<[u8]>) -> Folder {
        let folder = Folder::new();
        fs::create_dir(folder.export()).unwrap();
        fs::write(folder.people(), bytes).unwrap();
        folder
    }

    fn export(&self) -> PathBuf {
        self.0.path().join("export")
    }

    fn people(&self) -> PathBuf {
        self.export().join("people.csv")
    }

    fn text(&self) -> String {
        fs::read_to_string(self.people()).unwrap()
    }

    /// The names of all files, to see what is left lying about.
    fn names(&self) -> Vec<String> {
        let mut names: Vec<String> = fs::read_dir(self.export())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }
}

impl System for Folder {
    type Target = CsvTarget;

    fn open(&self) -> CsvTarget {
        CsvTarget::new(self.export())
    }

    fn add_by_hand(&self, ty: &TypeSpec, values: Vec<Datum>) {
        let path = self.export().join(format!("{}.csv", ty.name));
        let names = ty.attributes.iter().map(|attribute| attribute.name.clone()).collect::<Vec<_>>();
        fs::create_dir_all(self.export()).unwrap();
        let mut text = fs::read_to_string(&path).unwrap_or_else(|_| names.join(",") + "\n");
        let cells = values.into_iter().map(|value| cells::to_cell(cells::Form::Text, value).unwrap());
        text.push_str(&(cells.collect::<Vec<_>>().join(",") + "\n"));
        fs::write(path, text).unwrap();
    }
}

#[tokio::test]
async fn conforms() {
    conformance(Folder::new).await;
}

/// Reads the people in a file; values as text, for short expectations.
async fn people_in(bytes: impl AsRef<[u8]>) -> Vec<(String, Vec<String>)> {
    let records = read(&Folder::with(bytes).open(), &people()).await;
    let shown = |value: &Datum| if value.is_empty() { String::new() } else { value.to_string().replace('"', "") };
    records.into_iter().map(|(id, values)| (id, values.iter().map(shown).collect())).collect()
}

fn row(id: &str, values: [&str; 4]) -> (String, Vec<String>) {
    (id.to_string(), values.map(String::from).to_vec())
}

#[tokio::test]
async fn files_from_spreadsheets_are_read() {
    let adele = row("a", ["a", "Vance, Adele", "a@contoso.com", "[VPN, x]"]);
    for file in [
        "Entra ID,Name,Email,Groups\na,\"Vance, Adele\",a@contoso.com,VPN; x\n",
        "\u{FEFF}Entra ID,Name,Email,Groups\r\na,\"Vance, Adele\",a@contoso.com,VPN; x\r\n\r\n\r\n",
        "Email;Notes;Groups;Entra ID;Name\r\na@contoso.com;n;\"x;VPN\";a;Vance, Adele\r\n;;;;\r\n",
        "Name\tEntra ID\tGroups\tEmail\t\t\nVance, Adele\ta\tx; VPN\ta@contoso.com\n",
        "\n\"Entra ID\",\"Name\",\"Email\",\"Groups\"\r\"a\",\"Vance, Adele\",\"a@contoso.com\",\"VPN;x\",,",
    ] {
        assert_eq!(people_in(file).await, std::slice::from_ref(&adele), "{file:?}");
    }
    assert!(people_in("").await.is_empty());
    assert!(people_in("\u{FEFF}\r\n").await.is_empty());
    assert!(people_in("Entra ID,Name,Email,Groups").await.is_empty());
}

#[tokio::test]
async fn rows_without_key_twins_and_short_rows_are_records() {
    let file = "Entra ID,Name,Email\n,Adele\na,Alex\n,Diego\na\nb#2,Megan,'+47 1\n".replace(",Adele\n", ",Adele,\n");
    let file = file.replace(",Diego\n", ",Diego,\n");
    assert_eq!(
        people_in(file).await,
        [
            row("#1", ["", "Adele", "", ""]),
            row("#2", ["", "Diego", "", ""]),
            row("a", ["a", "Alex", "", ""]),
            row("a#2", ["a", "", "", ""]),
            row("b#2#1", ["b#2", "Megan", "+47 1", ""]),
        ]
    );
}

#[tokio::test]
async fn broken_files_are_refused_with_their_line() {
    let utf16: Vec<u8> = "Entra ID,Name\n".encode_utf16().flat_map(u16::to_le_bytes).collect();
    let marked: Vec<u8> = [&[0xFF, 0xFE], &utf16[..]].concat();
    let cases: Vec<(&[u8], &str, &str)> = vec![
        (b"Entra ID,Name\na,b\nc,d,e\n", "line 3", "3 fields"),
        (b"Entra ID,Name,Email\na,\"b\nc\",d\ne,f", "line 4", "without a line break"),
        (b"Name,Email,Entra ID\nAdele\nVance,a@contoso.com,a\n", "line 2", "key is not among"),
        (b"Entra ID,Name\na,\"b\nc,d\n", "line 2", "never closed"),
        (b"Entra ID,Name\na,\"b\"c\n", "line 2", "closing quote"),
        (b"Entra ID,Name,Name\n", "line 1", "two columns"),
        (b"Entra ID,name\n", "line 1", "case or blanks"),
        (b"Serial;Model\n1;2\n", "line 1", "\"Serial\", \"Model\""),
        (b"Entra ID,Name\na,Adele\nb,Andr\xE9\n", "line 3", "UTF-8"),
        (&utf16, "line 1", "UTF-16"),
        (&marked, "line 1", "UTF-16"),
    ];
    for (bytes, line, why) in cases {
        let folder = Folder::with(bytes);
        let error = folder.open().read(&people(), &mut |_| Ok(())).await.unwrap_err();
        let text = error.to_string();
        assert!(error.exit == Exit::Failed && error.hint.is_some(), "{text}");
        assert!(text.contains("people.csv") && text.contains(line) && text.contains(why), "{text}");
        assert!(folder.open().check(&[people()]).await.is_err());
        assert!(stage(&folder.open(), &people(), &[create(&people(), &person(1, "Adele", &[]))]).await.is_err());
        assert_eq!((fs::read(folder.people()).unwrap(), folder.names().len()), (bytes.to_vec(), 1));
    }
}

#[tokio::test]
async fn a_rewrite_keeps_what_it_does_not_change() {
    let ty = people();
    let folder = Folder::with(
        "\u{FEFF}Notes;\"Name\";Entra ID;Email\r\n\"kept \"\"as is\"\"\";\"Adele\";a;x\r\n\r\n=raw;Alex;b;\"y\";\r\n;Diego;c\r\nn;Megan;d;z",
    );
    let changes = [
        change(&ty, Action::Update, Some("a"), &[("Name", Datum::text("=A; \"B\""))]),
        change(&ty, Action::Delete, Some("d"), &[]),
        create(&ty, &[Datum::text("e"), Datum::text("Lee"), Datum::Empty, Datum::set(["VPN", "x"])]),
    ];
    let target = folder.open();
    read(&target, &ty).await;
    write(&target, &ty, &changes).await;
    assert_eq!(
        folder.text(),
        "\u{FEFF}Notes;\"Name\";Entra ID;Email;Groups\r\n\"kept \"\"as is\"\"\";\"'=A; \"\"B\"\"\";a;x;\r\n=raw;Alex;b;\"y\";\r\n;Diego;c;;\r\n;Lee;e;;\"VPN; x\"\r\n"
    );
}

#[tokio::test]
async fn a_new_file_has_the_types_columns_in_order() {
    let (ty, folder) = (people(), Folder::new());
    write(&folder.open(), &ty, &[create(&ty, &person(1, "Vance, Adele", &["b", "a"]))]).await;
    let expected = format!("Entra ID,Name,Email,Groups\n{},\"Vance, Adele\",person1@contoso.com,a; b\n", id(1));
    assert_eq!(folder.text(), expected);
    assert_eq!(folder.names(), ["people.csv"]);
    assert_eq!(fs::metadata(folder.people()).unwrap().permissions().mode() & 0o777, 0o600);
}

#[tokio::test]
async fn a_first_file_judges_each_change_as_it_comes() {
    let (ty, folder) = (people(), Folder::new());
    let changes = [
        create(&ty, &person(1, "Adele Vance", &[])),
        change(&ty, Action::Update, Some("b"), &[("Name", Datum::text("Alex"))]),
        change(&ty, Action::Delete, Some("c"), &[]),
        create(&ty, &person(1, "Adele Vance", &[])),
        create(&ty, &person(2, "Diego", &[])),
    ];
    let (_, outcomes) = stage(&folder.open(), &ty, &changes).await.unwrap();
    assert_eq!((done(&outcomes[0]), done(&outcomes[2]), done(&outcomes[4])), (id(1).as_str(), "c", id(2).as_str()));
    for (at, why) in [(1, "no such row"), (3, "another row with the same key")] {
        assert!(matches!(&outcomes[at], Outcome::Rejected { reason } if reason.contains(why)), "{:?}", outcomes[at]);
    }
    let staged = fs::read_to_string(folder.export().join(".people.csv.entra-import")).unwrap();
    assert_eq!(staged.lines().count(), 3);
}

#[tokio::test]
async fn headers_are_guarded_like_cells() {
    let (mut ty, folder) = (people(), Folder::new());
    ty.attributes[1].name = "=Name".to_string();
    let values = person(1, "Adele Vance", &[]);
    write(&folder.open(), &ty, &[create(&ty, &values)]).await;
    assert!(folder.text().starts_with("Entra ID,'=Name,"));
    assert_eq!(read(&folder.open(), &ty).await[&id(1)], values);
}

#[tokio::test]
async fn permissions_and_links_stay() {
    let (ty, folder) = (people(), Folder::with("Entra ID,Name\n"));
    let real = folder.0.path().join("real.csv");
    fs::rename(folder.people(), &real).unwrap();
    fs::set_permissions(&real, fs::Permissions::from_mode(0o640)).unwrap();
    symlink(&real, folder.people()).unwrap();
    write(&folder.open(), &ty, &[create(&ty, &person(1, "Adele Vance", &[]))]).await;
    assert!(fs::symlink_metadata(folder.people()).unwrap().is_symlink());
    assert!(folder.text().contains("Adele Vance"));
    assert_eq!(fs::metadata(&real).unwrap().permissions().mode() & 0o777, 0o640);
    fs::remove_file(&real).unwrap();
    assert!(folder.open().read(&ty, &mut |_| Ok(())).await.unwrap_err().what.contains("link"));
}

#[tokio::test]
async fn no_change_writes_nothing() {
    let (ty, folder) = (people(), Folder::with("Entra ID,Name\r\na,\"two\r\nlines\"\r\n\r\n"));
    let before = fs::metadata(folder.people()).unwrap().modified().unwrap();
    let target = folder.open();
    let same =
        [change(&ty, Action::Update, Some("a"), &[("Name", Datum::text("two\nlines")), ("Email", Datum::Empty)])];
    let (mark, outcomes) = stage(&target, &ty, &same).await.unwrap();
    assert_eq!((done(&outcomes[0]), mark.before.as_ref()), ("a", Some(&mark.after)));
    assert_eq!(folder.names(), ["people.csv"], "nothing is staged");
    target.commit(&mark).await.unwrap();
    assert_eq!(fs::metadata(folder.people()).unwrap().modified().unwrap(), before);
}

#[tokio::test]
async fn what_cannot_be_written_leaves_the_old_file() {
    let (ty, folder) = (people(), Folder::with("Entra ID,Name\na,Adele\n"));
    // Whatever stands in the way of the staged file stands for a full disk and a locked folder.
    let staged = folder.export().join(".people.csv.entra-import");
    fs::create_dir(&staged).unwrap();
    let error = stage(&folder.open(), &ty, &[create(&ty, &person(1, "Alex", &[]))]).await.unwrap_err();
    assert!(error.to_string().contains(".people.csv.entra-import"), "{error}");
    assert_eq!(folder.text(), "Entra ID,Name\na,Adele\n");
}

#[tokio::test]
async fn a_batch_that_is_given_up_leaves_nothing_lying_about() {
    let (ty, folder) = (people(), Folder::with("Entra ID,Name\na,Adele\n"));
    let plan = [create(&ty, &person(1, "Alex", &[]))];
    let mut full = |_: u32, _: &Change, _: Outcome| Err(Error::failed("the ledger is full"));
    assert!(folder.open().stage(&ty, &mut plan.iter().cloned().map(Ok), &mut full).await.is_err());
    assert_eq!(folder.names(), ["people.csv"]);
    let (mark, _) = stage(&folder.open(), &ty, &plan).await.unwrap();
    assert_eq!(folder.names(), [".people.csv.entra-import", "people.csv"]);
    fs::write(folder.people(), "Entra ID,Name\na,Someone\n").unwrap();
    assert_eq!(folder.open().commit(&mark).await.unwrap_err().exit, Exit::Stale);
    assert_eq!((folder.names(), folder.text().contains("Someone")), (vec!["people.csv".to_string()], true));
}

/// A disk that takes no more after some bytes.
struct Full(usize);

impl std::io::Write for Full {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0 = self.0.checked_sub(bytes.len()).ok_or(std::io::ErrorKind::StorageFull)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_full_disk_is_named_with_the_file() {
    let (ty, folder) = (people(), Folder::with("Entra ID,Name\na,Adele\n"));
    let path = folder.people();
    for room in [0, 30, 50] {
        let mut changes = [create(&ty, &person(1, "Alex", &[]))].into_iter().map(Ok);
        let mut batch = Batch::collect(&ty, &path, &mut changes).unwrap();
        let mut sheet = Sheet::open(&path, &ty).unwrap().unwrap();
        let error = batch.rewrite(&mut sheet, &mut Full(room), &mut |_, _, _| Ok(())).unwrap_err();
        assert!(error.to_string().contains("people.csv"), "{error}");
    }
}

#[tokio::test]
async fn a_link_in_the_staged_files_place_leads_nowhere() {
    let (ty, folder) = (people(), Folder::with("Entra ID,Name\na,Adele\n"));
    let elsewhere = folder.0.path().join("elsewhere");
    fs::write(&elsewhere, "mine").unwrap();
    symlink(&elsewhere, folder.export().join(".people.csv.entra-import")).unwrap();
    write(&folder.open(), &ty, &[create(&ty, &person(1, "Alex", &[]))]).await;
    assert_eq!(fs::read_to_string(&elsewhere).unwrap(), "mine");
    assert_eq!(folder.names(), ["people.csv"]);
}

#[tokio::test]
async fn a_type_without_a_key_column_is_refused() {
    let (mut ty, folder) = (people(), Folder::new());
    ty.key.clear();
    assert_eq!(folder.open().check(&[ty]).await.unwrap_err().exit, Exit::Usage);
    let mut ty = people();
    ty.attributes[1].name = "Email".to_string();
    assert_eq!(folder.open().check(&[ty]).await.unwrap_err().exit, Exit::Usage);
    folder.open().check(&[people()]).await.unwrap();
    assert!(!folder.export().exists(), "a check leaves nothing behind");
}

/// Not a test but a figure: `cargo test --release --lib csv -- --ignored --nocapture`.
#[tokio::test]
#[ignore = "prints how long 600,000 rows take"]
async fn figures() {
    let (ty, folder, rows) = (people(), Folder::new(), 600_000);
    let timed = |what: &str, since: std::time::Instant| println!("{what}: {:.2} s", since.elapsed().as_secs_f64());
    let new = |n| create(&ty, &person(n, "Vance, Adele", &["All Staff", "VPN"]));
    let mut ignore = |_: u32, _: &Change, _: Outcome| Ok(());
    let target = folder.open();
    let start = std::time::Instant::now();
    let mark = target.stage(&ty, &mut (0..rows).map(|n| Ok(new(n))), &mut ignore).await.unwrap();
    target.commit(&mark).await.unwrap();
    timed("create", start);
    println!("{} MB", fs::metadata(folder.people()).unwrap().len() >> 20);
    let start = std::time::Instant::now();
    target.read(&ty, &mut |_| Ok(())).await.unwrap();
    timed("read", start);
    for step in [rows, 200, 1] {
        let update =
            |n: u32| change(&ty, Action::Update, Some(&id(n)), &[("Name", Datum::text(format!("Adele {step}")))]);
        let start = std::time::Instant::now();
        let mut changes = (0..rows).step_by(step as usize).map(|n| Ok(update(n)));
        let mark = target.stage(&ty, &mut changes, &mut ignore).await.unwrap();
        timed(&format!("stage, one row in {step}"), start);
        let start = std::time::Instant::now();
        target.commit(&mark).await.unwrap();
        timed("commit", start);
    }
}
