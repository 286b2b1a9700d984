//! What a row is called between reading and writing.
//!
//! The id of a row is its key: the key attributes' texts joined by `/`, as [`crate::record::Key`] prints them. The
//! second row with the same key is `…#2`, and so on down the file. Rows without a key are counted alike, from `#1`. A
//! key that itself ends in `#` and a number always carries its count (`a#2#1`), so no two rows share an id.
//!
//! An id keeps its meaning across a rewrite as long as the key is the only one of its kind; a count is good for the
//! state of the file that was read, which [`super`] proves by its hash before it writes.

/// Between the parts of a key.
pub const KEY_SEPARATOR: char = '/';

/// The id of the `nth` row (from 1) that has this key; the empty key stands for none.
pub fn id(key: &str, nth: u32) -> String {
    if nth == 1 && !key.is_empty() && parse(key).0 == key { key.to_string() } else { format!("{key}#{nth}") }
}

/// Takes an id apart into key and count.
pub fn parse(id: &str) -> (&str, u32) {
    let counted = id.rsplit_once('#').and_then(|(key, count)| {
        let plain = !count.starts_with('0') && count.bytes().all(|byte| byte.is_ascii_digit());
        count.parse().ok().filter(|_| plain).map(|nth| (key, nth))
    });
    counted.unwrap_or((id, 1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn ids_are_readable() {
        for (key, nth, expected) in [
            ("a/b", 1, "a/b"),
            ("a/b", 2, "a/b#2"),
            ("", 1, "#1"),
            ("", 7, "#7"),
            ("C#", 1, "C#"),
            ("a#2", 1, "a#2#1"),
            ("a#02", 1, "a#02"),
        ] {
            assert_eq!(id(key, nth), expected);
        }
    }

    proptest! {
        #[test]
        fn ids_name_one_key_and_count(key in "[a#0-9+]{0,8}", nth in 1..u32::MAX) {
            let id = id(&key, nth);
            prop_assert_eq!(parse(&id), (key.as_str(), nth));
        }
    }
}
