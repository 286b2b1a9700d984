//! What comparing costs, and the ledger with it: a snapshot of many users against a CSV file of as many, without any
//! reading from Graph.
//!
//! Three runs: into an empty folder, with nothing changed, and after a night. Each compares what the source wants, what
//! the file holds and what the ledger says was written last.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::Path;

use serde_json::{Value, json};

use crate::run::{Run, Step};

/// What a row has besides its id: attribute and property.
const ATTRIBUTES: [(&str, &str); 19] = [
    ("Name", "displayName"),
    ("User Principal Name", "userPrincipalName"),
    ("Email", "mail"),
    ("Given Name", "givenName"),
    ("Surname", "surname"),
    ("Job Title", "jobTitle"),
    ("Department", "department"),
    ("Company", "companyName"),
    ("Office", "officeLocation"),
    ("Street", "streetAddress"),
    ("Postal Code", "postalCode"),
    ("City", "city"),
    ("State", "state"),
    ("Country", "country"),
    ("Mobile Phone", "mobilePhone"),
    ("Employee ID", "employeeId"),
    ("Employee Type", "employeeType"),
    ("Usage Location", "usageLocation"),
    ("Preferred Language", "preferredLanguage"),
];

/// One user in so many changes in a night.
const CHANGES_ONE_IN: u64 = 200;

/// Steps that make the plan, and those that are the ledger's share of applying it.
const OF_THE_PLAN: [&str; 6] = ["open", "judge", "map", "target", "compare", "identify"];
const OF_THE_LEDGER: [&str; 2] = ["journal", "record"];

/// Measures so many users, and prints both shares.
pub fn print(program: &Path, users: u64) -> io::Result<()> {
    let folder = tempfile::tempdir()?;
    let at = |name: &str| folder.path().join(name);
    snapshot(&at("before"), users, "2026-01-01T02:00:00Z", "Retail")?;
    snapshot(&at("after"), users, "2026-01-02T02:00:00Z", "Wholesale")?;
    let attributes: String = ATTRIBUTES.map(|(name, property)| format!("\"{name}\" = \"{property}\"\n")).concat();
    let mapping =
        "format = \"mapping/1\"\nname = \"people\"\nsource = \"users\"\ntarget = \"people\"\nkey = \"Entra ID\"\n";
    fs::write(at("people.toml"), format!("{mapping}[attributes]\n\"Entra ID\" = \"id\"\n{attributes}"))?;
    let job = |snapshot: &str| {
        format!(
            "format = \"job/1\"\nname = \"bench\"\n[source]\nsnapshot = \"{snapshot}\"\n[target]\nkind = \"csv\"\n\
             path = \"export\"\n[[mapping]]\nuse = \"people.toml\"\n"
        )
    };
    fs::write(at("before.toml"), job("before"))?;
    fs::write(at("after.toml"), job("after"))?;
    let state = at("state");
    let runs = [
        Run::measure("first run", program, &at("before.toml"), &state)?,
        Run::measure("no change", program, &at("before.toml"), &state)?,
        Run::measure("after a night", program, &at("after.toml"), &state)?,
    ];
    println!("\nplan: {users} users of {} attributes against as many rows", ATTRIBUTES.len() + 1);
    let line = |name: &str, cell: &dyn Fn(&Run) -> String| {
        let cells: String = runs.iter().map(|run| format!("{:>16}", cell(run))).collect();
        println!("{name:<34}{cells}");
    };
    line("", &|run| run.name.to_owned());
    for step in OF_THE_PLAN {
        line(&format!("  {step}, s"), &|run| format!("{:.2}", seconds(run, &[step])));
    }
    line("the plan, s", &|run| format!("{:.2}", seconds(run, &OF_THE_PLAN)));
    line("  peak memory, MB", &|run| format!("{:.0}", peak_kb(run) as f64 * 1024.0 / 1e6));
    line("opening the ledger, s", &|run| format!("{:.2}", seconds(run, &["ledger"])));
    line("applying it, s", &|run| format!("{:.2}", seconds(run, &["apply"])));
    for step in OF_THE_LEDGER {
        line(&format!("  {step}, s"), &|run| format!("{:.2}", seconds(run, &[step])));
    }
    line("  of that the ledger, s", &|run| format!("{:.2}", seconds(run, &OF_THE_LEDGER)));
    line("  of that the ledger, %", &|run| {
        format!("{:.1}", 100.0 * seconds(run, &OF_THE_LEDGER) / seconds(run, &["apply"]).max(1e-3))
    });
    line("wall time, s", &|run| format!("{:.2}", run.wall.as_secs_f64()));
    line("peak memory of the whole run, MB", &|run| format!("{:.0}", run.peak_kb as f64 * 1024.0 / 1e6));
    line("records written", &|run| run.written().to_string());
    line("exit code", &|run| run.exit.to_string());
    Ok(())
}

fn steps<'r>(run: &'r Run, names: &[&str]) -> impl Iterator<Item = &'r Step> {
    names.iter().filter_map(|name| run.step(name)).collect::<Vec<_>>().into_iter()
}

fn seconds(run: &Run, names: &[&str]) -> f64 {
    steps(run, names).map(|step| step.took.as_secs_f64()).sum()
}

fn peak_kb(run: &Run) -> u64 {
    steps(run, &OF_THE_PLAN).map(|step| step.peak_kb).max().unwrap_or_default()
}

/// A snapshot of users, some of whom are in that department.
fn snapshot(folder: &Path, users: u64, as_of: &str, department: &str) -> io::Result<()> {
    fs::create_dir(folder)?;
    let mut to = BufWriter::with_capacity(1 << 20, File::create(folder.join("users.jsonl"))?);
    for n in 0..users {
        serde_json::to_writer(&mut to, &user(n, department))?;
        to.write_all(b"\n")?;
    }
    to.flush()?;
    let properties: Vec<&str> = ATTRIBUTES.iter().map(|(_, property)| *property).chain(["id"]).collect();
    let manifest = json!({
        "format": "snapshot/1", "tenant": "contoso.com", "as_of": as_of, "program": "bench",
        "collections": { "users": { "coverage": "complete", "count": users, "properties": properties } },
        "roles": ["User.Read.All"],
    });
    fs::write(folder.join("manifest.json"), manifest.to_string())
}

fn user(n: u64, department: &str) -> Value {
    let changes = n.is_multiple_of(CHANGES_ONE_IN);
    json!({
        "id": format!("10000000-0000-4000-8000-{n:012}"), "displayName": format!("Adele Vance {n}"),
        "userPrincipalName": format!("adele.vance{n}@contoso.com"), "mail": format!("adele.vance{n}@contoso.com"),
        "givenName": "Adele", "surname": format!("Vance {n}"), "jobTitle": "Retail Manager",
        "department": if changes { department } else { "Sales & Marketing" }, "companyName": "Contoso",
        "officeLocation": format!("18/{}", n % 4000), "streetAddress": "205 108th Ave. NE, Suite 400",
        "postalCode": "98004", "city": "Bellevue", "state": "WA", "country": "United States",
        "mobilePhone": null, "employeeId": format!("E{n}"), "employeeType": "Employee", "usageLocation": "US",
        "preferredLanguage": "en-US",
    })
}
