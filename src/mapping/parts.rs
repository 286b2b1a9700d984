//! `include`: what several mappings share, kept in files of its own.
//!
//! Hides the walk along includes, with its limits. Later parts lie over earlier ones and the file itself over all of
//! them, as a job's overrides lie over a mapping; every key and value keeps its place in the file it was written in.
//! Deliberately leaves the `[[test]]` cases of a part behind: they say what the part means by itself.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::read::{FORMAT, check_format, lay_over};
use super::shipped;
use crate::diagnostic::{Place, Problems, SourceFile};
use crate::tree::{self, Node, Table};

/// The deepest nesting of parts. Two are in use; more cannot be followed by a reader either.
const DEPTH_MAX: usize = 8;

/// The most files of one mapping, each counted as often as it is included.
const FILES_MAX: usize = 64;

/// A mapping file laid over all it includes. `None` when one of the files has mistakes, which are noted.
pub(super) fn whole(file: &Arc<SourceFile>, problems: &mut Problems) -> Option<Table> {
    Parts { above: Vec::new(), files: 0 }.whole(file, problems)
}

/// The files that lead to the one being read, each as itself and as messages call it.
struct Parts {
    above: Vec<(PathBuf, String)>,
    files: usize,
}

impl Parts {
    fn whole(&mut self, file: &Arc<SourceFile>, problems: &mut Problems) -> Option<Table> {
        let mut own = tree::parse(file, problems)?;
        if !check_format(&own, &Place { file: file.clone(), range: 0..0 }, FORMAT, problems) {
            return None;
        }
        let mut whole = Table::default();
        if let Some(include) = own.remove("include") {
            self.above.push((itself(file), file.name.clone()));
            for node in include.value.list(problems)? {
                let mut part = self.part(node, problems)?;
                part.remove("test");
                lay_over(&mut whole, part, problems);
            }
            self.above.pop();
        }
        lay_over(&mut whole, own, problems);
        Some(whole)
    }

    fn part(&mut self, node: &Node, problems: &mut Problems) -> Option<Table> {
        let text = node.text(problems)?;
        let file = match text.ends_with(".toml") {
            false => shipped::require(text, &node.place, problems)?,
            true => node.file(problems)?,
        };
        if self.above.iter().any(|(above, _)| *above == itself(&file)) {
            let chain: Vec<_> = self.above.iter().map(|(_, name)| name.as_str()).collect();
            problems.add(&node.place, format!("the parts go in a circle: {} → {}", chain.join(" → "), file.name));
            return None;
        }
        self.files += 1;
        if self.above.len() > DEPTH_MAX || self.files > FILES_MAX {
            let message = format!("more than {DEPTH_MAX} parts, each including the next, or {FILES_MAX} in all");
            problems.add(&node.place, message);
            return None;
        }
        self.whole(&file, problems)
    }
}

/// What tells one file from another, however it is spelt.
fn itself(file: &SourceFile) -> PathBuf {
    let path = Path::new(&file.name);
    path.canonicalize().unwrap_or_else(|_| path.to_path_buf())
}
