//! Whole-program tests, linked once.

mod docs;
mod source;
