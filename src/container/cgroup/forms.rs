//! The forms of a cgroup's files: cgroup-v2.rst, "Interface Files", and psi.rst. What is not in these forms, or is not
//! there yet in this kernel, reads as nothing.

use std::collections::BTreeMap;

use crate::spec::events::{BlkioEntry, NO_LIMIT, Pressure, Psi};

/// A value alone; `max` is [`NO_LIMIT`].
pub(super) fn number(text: &str) -> Option<u64> {
    match text.trim() {
        "max" => Some(NO_LIMIT),
        number => number.parse().ok(),
    }
}

/// Flat keyed: a line for each key.
pub(super) fn keyed(text: &str) -> BTreeMap<String, u64> {
    let pair = |line: &str| {
        let (key, value) = line.split_once(' ')?;
        Some((key.to_owned(), number(value)?))
    };
    text.lines().filter_map(pair).collect()
}

/// Nested keyed: a line for each key, with its own keys and values.
pub(super) fn nested(text: &str) -> BTreeMap<String, BTreeMap<String, u64>> {
    let line = |line: &str| {
        let mut words = line.split_whitespace();
        let key = words.next()?.to_owned();
        let pairs = words.filter_map(|word| {
            let (key, value) = word.split_once('=')?;
            Some((key.to_owned(), number(value)?))
        });
        Some((key, pairs.collect()))
    };
    text.lines().filter_map(line).collect()
}

/// A list of ranges, such as `0-3,8`.
pub(super) fn list(text: &str) -> Vec<u16> {
    let range = |range: &str| {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        Some(first.parse::<u16>().ok()?..=last.parse().ok()?)
    };
    text.trim().split(',').filter_map(range).flatten().collect()
}

/// `*.pressure`; the cpu's has no line `full` before Linux 5.13.
pub(super) fn psi(text: &str) -> Option<Psi> {
    let kind = |kind: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(kind)?.strip_prefix(' '))?;
        let value = |key: &str| {
            line.split(' ').find_map(|word| word.strip_prefix(key)?.strip_prefix('=')).unwrap_or_default()
        };
        let average = |key| value(key).parse().unwrap_or_default();
        Some(Pressure {
            avg10: average("avg10"),
            avg60: average("avg60"),
            avg300: average("avg300"),
            total: value("total").parse().unwrap_or_default(),
        })
    };
    Some(Psi { some: kind("some")?, full: kind("full").unwrap_or_default() })
}

/// `io.stat`: bytes, and operations. Those that discard are left out where there are none, as in runc.
pub(super) fn io(text: &str) -> (Vec<BlkioEntry>, Vec<BlkioEntry>) {
    let (mut bytes, mut operations) = (Vec::new(), Vec::new());
    for line in text.lines() {
        let mut words = line.split_whitespace();
        let device = words.next().and_then(|device| device.split_once(':'));
        let Some((Ok(major), Ok(minor))) = device.map(|(major, minor)| (major.parse(), minor.parse())) else {
            continue;
        };
        for (key, value) in words.filter_map(|word| word.split_once('=')) {
            let Ok(value) = value.parse() else { continue };
            let entry = |op| BlkioEntry { major, minor, op, value };
            match key {
                "rbytes" => bytes.push(entry("Read")),
                "wbytes" => bytes.push(entry("Write")),
                "dbytes" if value > 0 => bytes.push(entry("Discard")),
                "rios" => operations.push(entry("Read")),
                "wios" => operations.push(entry("Write")),
                "dios" if value > 0 => operations.push(entry("Discard")),
                _ => {}
            }
        }
    }
    (bytes, operations)
}

#[cfg(test)]
mod tests {
    use super::{BlkioEntry, NO_LIMIT, Psi, io, keyed, list, nested, number, psi};

    #[test]
    fn a_value_is_a_number_or_no_limit() {
        assert_eq!((number("4096\n"), number("max\n")), (Some(4096), Some(NO_LIMIT)));
        for bad in ["", "\n", "-1", "1 2", "99999999999999999999"] {
            assert_eq!(number(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn what_is_no_key_with_a_number_is_passed_over() {
        let read = keyed("low 0\noom_kill 2\n\nnonsense\nx y\n");
        assert_eq!(read, [("low".to_owned(), 0), ("oom_kill".to_owned(), 2)].into());
    }

    #[test]
    fn a_device_that_has_used_nothing_has_no_keys() {
        let read = nested("rxe0 hca_handle=3 hca_object=max \nidle\n");
        assert_eq!(read["rxe0"], [("hca_handle".to_owned(), 3), ("hca_object".to_owned(), NO_LIMIT)].into());
        assert!(read["idle"].is_empty());
    }

    #[test]
    fn ranges_are_spelled_out() {
        assert_eq!(list("0-2,7\n"), [0, 1, 2, 7]);
        assert_eq!(list("5\n"), [5]);
        assert!(list("\n").is_empty());
        assert!(list("3-1,x,70000").is_empty());
    }

    #[test]
    fn pressure_without_the_line_full_is_read() {
        let some = "some avg10=0.49 avg60=12.50 avg300=0.03 total=104493\n";
        let read = psi(some).unwrap();
        assert_eq!((read.some.avg60, read.some.total, read.full.total), (12.5, 104_493, 0));
        let both = psi(&format!("{some}full avg10=0.00 avg60=0.00 avg300=1.25 total=7\n")).unwrap();
        assert_eq!((both.some, both.full.avg300, both.full.total), (read.some, 1.25, 7));
        assert_eq!(psi(""), None::<Psi>);
    }

    #[test]
    fn io_is_by_device_and_operation() {
        let text = "254:16 rbytes=5242880 wbytes=262144 rios=5 wios=64 dbytes=0 dios=0\n\
                    8:0 rbytes=1 wbytes=0 rios=1 wios=0 dbytes=4096 dios=2 cost.usage=3\n7:0\nbad rbytes=1\n";
        let (bytes, operations) = io(text);
        let entry = |major, minor, op, value| BlkioEntry { major, minor, op, value };
        assert_eq!(
            bytes,
            [
                entry(254, 16, "Read", 5_242_880),
                entry(254, 16, "Write", 262_144),
                entry(8, 0, "Read", 1),
                entry(8, 0, "Write", 0),
                entry(8, 0, "Discard", 4096),
            ]
        );
        assert_eq!(operations.last(), Some(&entry(8, 0, "Discard", 2)));
        assert_eq!(operations.len(), 5);
    }
}
