//! Tests of the ledger against real files.
