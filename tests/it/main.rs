//! Whole-program tests, linked once.

mod samples;
mod source;
