//! A folder of CSV files, one per type.
