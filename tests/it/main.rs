//! Whole-program tests, linked once.

mod docs;
mod rules;
mod samples;
mod source;
mod world;
