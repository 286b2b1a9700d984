//! Fixed plans and outcomes that the golden tests render.
