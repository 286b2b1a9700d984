//! What a run leaves and tells when it ends, whatever becomes of it: reports, events, summary, metrics, messages.
//!
//! Deliberately changes no record and no exit code but one: a file that was asked for and cannot be written makes a
//! run that went well end with 1.

use super::Session;
use crate::error::{Context as _, Exit, Result};
use crate::notify;
use crate::plan::Plan;
use crate::report::applied::Applied;
use crate::report::figures::Figures;
use crate::report::files::{PUBLIC, Wanted, append, for_job, replace, write_leavers};
use crate::report::{Detail, View, events, metrics};

impl Session<'_> {
    /// The files that were asked for, here and by the job. A dry run leaves only those asked for here.
    fn wanted(&self) -> impl Iterator<Item = &Wanted> {
        let of_job = (!self.options.dry_run).then_some(&self.job.report.files);
        std::iter::once(&self.options.files).chain(of_job)
    }

    /// How results are to look: as asked for here, with what the job knows.
    pub(super) fn view(&self) -> View {
        View { price: self.job.report.price.clone(), ..self.options.view.clone() }
    }

    /// How it went so far.
    pub fn figures(&self) -> &Figures {
        &self.figures
    }

    /// Writes reports and lists of a plan, and of what became of it.
    pub(super) fn write_files(&self, plan: &Plan, applied: Option<&Applied<'_>>) -> Result<()> {
        let view = View { detail: self.options.view.detail.max(Detail::All), ..self.view() };
        for wanted in self.wanted() {
            wanted.reports.iter().try_for_each(|file| file.write(plan, applied, &view))?;
            wanted.leavers.iter().try_for_each(|path| write_leavers(path, plan))?;
            if let (Some(path), Some(applied)) = (&wanted.events, applied) {
                let collection = |ty: usize| self.collection_of(plan, ty);
                append(&for_job(path, &self.job.name), |to| events::write(plan, applied, &collection, to))?;
            }
        }
        Ok(())
    }

    /// The same at the end of a run, which must end in history whatever becomes of its files.
    pub(super) fn leave_files(&self, plan: &Plan, applied: Option<&Applied<'_>>) -> Exit {
        match self.write_files(plan, applied) {
            Ok(()) => Exit::Done,
            Err(error) => {
                self.complain(&error);
                error.exit
            }
        }
    }

    /// The collection that a type's records are made of.
    fn collection_of(&self, plan: &Plan, ty: usize) -> &'static str {
        let mappings = &plan.header.types[ty].mappings;
        mappings.first().and_then(|name| self.job.mapping(name)).map_or("", |mapping| mapping.source.name())
    }

    /// Says that the run has begun, to those that measure how long it takes.
    pub async fn tell_beginning(&self) {
        if !self.options.dry_run {
            notify::begun(&self.job.report, self.context.clock()).await;
        }
    }

    /// Leaves summary and metrics, and tells those who asked to hear. A dry run tells nobody.
    pub async fn tell_end(&mut self, ended: Result<Exit>) -> Result<Exit> {
        let now = self.context.clock().now();
        self.figures.ended(&ended, self.opened.elapsed().as_secs_f64(), now);
        if self.options.dry_run {
            return ended;
        }
        let history = self.ledger.as_ref().map(|ledger| ledger.runs(HISTORY)).transpose();
        match history {
            Ok(runs) => self.figures.history(&runs.unwrap_or_default()),
            Err(error) => tracing::warn!("{error}"),
        }
        let written = self.write_figures(now.as_second());
        notify::ended(&self.job.report, &self.figures, self.context.clock()).await;
        match (ended, written) {
            (Ok(exit), Err(error)) => {
                self.complain(&error);
                Ok(Exit::worst([exit, error.exit]))
            }
            (ended, _) => ended,
        }
    }

    fn write_figures(&self, ended_at_s: i64) -> Result<()> {
        for wanted in self.wanted() {
            if let Some(path) = &wanted.summary {
                replace(&for_job(path, &self.job.name), PUBLIC, |to| {
                    let mut line = Vec::new();
                    to.write_all(crate::json::line(&self.figures, &mut line)?).failing(cannot_write)?;
                    to.write_all(b"\n").failing(cannot_write)
                })?;
            }
            if let Some(path) = &wanted.metrics {
                let path = for_job(path, &self.job.name);
                replace(&path, PUBLIC, |to| metrics::write(&self.figures, ended_at_s, to))?;
            }
        }
        Ok(())
    }

    /// Whether anybody will read when the credential ends; finding out may take a request.
    pub(super) fn figures_are_wanted(&self) -> bool {
        let by_flag = self.options.files.summary.is_some() || self.options.files.metrics.is_some();
        !self.options.dry_run && (by_flag || self.job.report.is_heard())
    }
}

/// Runs that are looked back at for since when it has been so.
const HISTORY: u32 = 1000;

fn cannot_write() -> String {
    "cannot write the summary".into()
}
