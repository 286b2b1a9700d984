//! What the language costs, without Graph and without a target: one filter and one mapping over very many users.
//!
//! The users are made up beforehand, as JSON lines like those of a snapshot, so that nothing but decoding, judging and
//! mapping is timed. One core does the work, and its processor time counts: what else runs on the machine does not.

use std::path::Path;
use std::time::{Duration, Instant};
use std::{fs, io};

use entra_import::expr::{NoNavigation, Truth, compile_filter};
use entra_import::job::Job;
use entra_import::mapping::{shipped, test_file};
use entra_import::record::{Collection, Key};

use crate::decode::cpu_s;

/// Ten clauses of the kinds that jobs have. Most users pass all of them, so that none is skipped.
const FILTER: &str = "accountEnabled eq true and userType eq 'Member' and mail ne null \
    and endswith(mail, '@contoso.com') and country in ('Norway', 'Sweden', 'Denmark', 'Finland', 'Germany') \
    and not startswith(displayName, 'svc-') and createdDateTime lt now() sub duration'P1D' \
    and (department ne 'Test' or jobTitle eq null) and employeeId ne null \
    and assignedLicenses/any(l: l/skuId eq 06ebc4ee-1bb5-47dd-8120-11324bc54e06)";

/// So often a job is loaded.
const LOADS: usize = 20;

/// Different users; the same ones come again and again.
const DISTINCT: usize = 10_000;

/// Decoded users that are judged and mapped again and again. A run judges each user right after decoding it, while it
/// is in the processor's nearest cache; more of them here would measure memory.
const AT_HAND: usize = 32;

/// Prints records per second, each part alone and together.
pub fn bench(records: usize) -> io::Result<()> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("expr.toml");
    let failed = |error: String| io::Error::other(error);
    let started = Instant::now();
    let (mapping, mut catalog) =
        test_file(&path.display().to_string(), false).map_err(|error| failed(error.to_string()))?;
    let filter = compile_filter(FILTER, Some(Collection::Users), &mut catalog).map_err(|e| failed(e.to_string()))?;
    let compiling = started.elapsed();
    let lines: Vec<String> = (0..DISTINCT).map(user).collect();
    let nav = NoNavigation { as_of: "2026-01-01T00:00:00Z".parse().map_err(|_| failed("no time".into()))? };
    let shape = catalog.shape(Collection::Users).clone();
    let decode = |at: usize| {
        let key = Key::parse("87d349ed-44d7-43e1-9a83-5f2406dee5bd");
        shape.decode(key, &lines[at % DISTINCT], &[]).map_err(|error| failed(error.to_string()))
    };
    println!("expressions: {records} users of {} bytes on average, one core", average(&lines));
    println!("compiling the filter and the mapping: {:.2} ms", compiling.as_secs_f64() * 1e3);
    let (took, mappings) = loading()?;
    println!("loading a job with {mappings} mappings: {:.2} ms", took.as_secs_f64() * 1e3);
    println!("{:28} {:>12} {:>12}", "records per second", "of processor", "of the clock");
    rate("decode", records, || (0..records).try_for_each(|at| decode(at).map(drop)))?;
    let decoded = (0..AT_HAND).map(decode).collect::<io::Result<Vec<_>>>()?;
    let mut kept = 0;
    rate("filter of 10 clauses", records, || {
        kept = (0..records).filter(|at| filter.truth(&decoded[at % AT_HAND], &nav) == Truth::True).count();
        Ok(())
    })?;
    rate("mapping of 20 attributes", records, || {
        (0..records)
            .try_for_each(|at| mapping.apply(&decoded[at % AT_HAND], &nav).map(drop))
            .map_err(|rejection| failed(rejection.to_string()))
    })?;
    rate("filter and mapping", records, || {
        for at in 0..records {
            let record = &decoded[at % AT_HAND];
            if filter.truth(record, &nav) == Truth::True {
                mapping.apply(record, &nav).map_err(|rejection| failed(rejection.to_string()))?;
            }
        }
        Ok(())
    })?;
    rate("decode, filter and mapping", records, || {
        for at in 0..records {
            let record = decode(at)?;
            if filter.truth(&record, &nav) == Truth::True {
                mapping.apply(&record, &nav).map_err(|rejection| failed(rejection.to_string()))?;
            }
        }
        Ok(())
    })?;
    println!("let in: {kept}");
    Ok(())
}

fn rate(what: &str, records: usize, run: impl FnOnce() -> io::Result<()>) -> io::Result<()> {
    let (started, cpu) = (Instant::now(), cpu_s());
    run()?;
    let (cpu, wall) = (cpu_s() - cpu, started.elapsed().as_secs_f64());
    println!("{what:28} {:>12.0} {:>12.0}", records as f64 / cpu.max(0.01), records as f64 / wall);
    Ok(())
}

/// Reads, checks and compiles a job with every mapping that is shipped and the filter, from its file; the best of some
/// tries, since other work only ever makes it slower.
fn loading() -> io::Result<(Duration, usize)> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("job.toml");
    let mappings = shipped::addresses();
    let uses: String = mappings.iter().map(|address| format!("[[mapping]]\nuse = \"{address}\"\n")).collect();
    let job = format!(
        "format = \"job/1\"\nname = \"bench\"\n[source]\nsnapshot = \"snapshot\"\n[scope]\nusers = \"\"\"{FILTER}\"\"\"\n\
         [target]\nkind = \"csv\"\npath = \"export\"\n[state]\ndir = \"state\"\n{uses}"
    );
    fs::write(&path, job)?;
    let mut best = Duration::MAX;
    for _ in 0..LOADS {
        let started = Instant::now();
        Job::load(&path, None).map_err(|error| io::Error::other(error.to_string()))?;
        best = best.min(started.elapsed());
    }
    Ok((best, mappings.len()))
}

fn average(lines: &[String]) -> usize {
    lines.iter().map(String::len).sum::<usize>() / lines.len()
}

/// A user like those of a snapshot, with the properties that the filter and the mapping read and a few besides.
fn user(at: usize) -> String {
    let country = ["Norway", "Sweden", "Denmark", "Finland", "Germany"][at % 5];
    serde_json::json!({
        "accountEnabled": !at.is_multiple_of(50),
        "assignedLicenses": [
            { "disabledPlans": [], "skuId": "f8a1db68-be16-40ed-86d5-cb42ce701560" },
            { "disabledPlans": [], "skuId": "06ebc4ee-1bb5-47dd-8120-11324bc54e06" },
        ],
        "businessPhones": [format!("+47 400 {at:05}")],
        "city": "Oslo", "companyName": "Contoso", "country": country,
        "createdDateTime": "2021-04-04T08:00:00Z",
        "department": format!("Department {}", at % 40), "displayName": format!("Adele Vance {at}"),
        "employeeId": format!("E{at:06}"), "employeeOrgData": { "costCenter": format!("{}", 4000 + at % 90), "division": null },
        "givenName": "Adele", "id": format!("10000000-0000-4000-8000-{at:012}"), "jobTitle": "Engineer",
        "mail": format!("Adele.Vance{at}@contoso.com"), "mobilePhone": null, "officeLocation": "15/1102",
        "onPremisesSyncEnabled": true, "postalCode": "0150", "preferredLanguage": "nb-NO", "state": "Oslo",
        "streetAddress": "Storgata 1", "surname": format!("Vance {at}"), "usageLocation": "NO",
        "userPrincipalName": format!("Adele.Vance{at}@contoso.com"), "userType": if at.is_multiple_of(60) { "Guest" } else { "Member" },
    })
    .to_string()
}
