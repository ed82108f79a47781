//! `linux.uidMappings` and `linux.gidMappings`: config-linux.md, "User namespace mappings".

use std::fmt;

use crate::error::{Doing, Result, invalid};
use crate::spec::oci::{Linux, LinuxIdMapping};

/// For a new user namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdMaps {
    /// Of users.
    pub uid: IdMap,
    /// Of groups.
    pub gid: IdMap,
}

/// user_namespaces(7): which ids of the host the container's are. Shown, it is what the kernel reads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdMap {
    /// In the configuration's order; none is empty, and none overlaps another on either side.
    pub ranges: Vec<IdRange>,
}

/// `size` ids, from these two up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IdRange {
    /// In the container.
    pub inside: u32,
    /// On the host: in the runtime's own user namespace.
    pub outside: u32,
    /// How many.
    pub size: u32,
}

impl fmt::Display for IdMap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.ranges.iter().try_for_each(|r| writeln!(f, "{} {} {}", r.inside, r.outside, r.size))
    }
}

impl IdMap {
    /// Whether the container has this id.
    pub fn has(&self, id: u32) -> bool {
        self.ranges.iter().any(|r| id >= r.inside && id - r.inside < r.size)
    }

    /// What an id of the container's is on the host; `None` if it has no such id.
    pub fn on_host(&self, id: u32) -> Option<u32> {
        let within =
            |r: &IdRange| Some(r.outside + id.checked_sub(r.inside).filter(|offset| *offset < r.size)?);
        self.ranges.iter().find_map(within)
    }

    /// Who prepares the container: its root, or the lowest of its ids if it has none.
    pub fn first(&self) -> u32 {
        self.ranges.iter().map(|r| r.inside).min().unwrap_or(0)
    }

    /// Whether there is only one id in it.
    pub fn is_single(&self) -> bool {
        matches!(self.ranges.as_slice(), [IdRange { size: 1, .. }])
    }

    /// Whether it is what anybody may map, user_namespaces(7): one id, which is his own.
    pub fn is_only(&self, own: u32) -> bool {
        matches!(self.ranges.as_slice(), [IdRange { outside, size: 1, .. }] if *outside == own)
    }
}

impl IdMaps {
    /// Both or neither, for the kernel gives a namespace with one of them no use.
    pub(super) fn plan(linux: &Linux) -> Result<Option<Self>> {
        let uid = map("linux.uidMappings", linux.uid_mappings().as_deref())?;
        let gid = map("linux.gidMappings", linux.gid_mappings().as_deref())?;
        match (uid, gid) {
            (None, None) => Ok(None),
            (Some(uid), Some(gid)) => Ok(Some(Self { uid, gid })),
            (Some(_), None) => Err(invalid("linux.uidMappings needs linux.gidMappings beside it")),
            (None, Some(_)) => Err(invalid("linux.gidMappings needs linux.uidMappings beside it")),
        }
    }
}

/// The kernel's rules, user_namespaces(7), and its limit on what is written at once.
pub(super) fn map(name: &'static str, mappings: Option<&[LinuxIdMapping]>) -> Result<Option<IdMap>> {
    const MOST_RANGES: usize = 340;
    const PAGE: usize = 4096;
    let Some(mappings) = mappings.filter(|mappings| !mappings.is_empty()) else {
        return Ok(None);
    };
    if mappings.len() > MOST_RANGES {
        return Err(invalid(format!("{name}: {} ranges, the kernel takes {MOST_RANGES}", mappings.len())));
    }
    let ranges = mappings
        .iter()
        .enumerate()
        .map(|(index, mapping)| range(mapping).doing(|| format!("{name}[{index}]")));
    let map = IdMap { ranges: ranges.collect::<Result<_>>()? };
    for (side, of) in [("containerID", inside as fn(&IdRange) -> u32), ("hostID", outside)] {
        let mut sorted: Vec<(u64, u64, usize)> = map
            .ranges
            .iter()
            .enumerate()
            .map(|(index, r)| (of(r).into(), u64::from(of(r)) + u64::from(r.size), index))
            .collect();
        sorted.sort_unstable();
        if let Some(pair) = sorted.windows(2).find(|pair| pair[0].1 > pair[1].0) {
            let (a, b) = (pair[0].2.min(pair[1].2), pair[0].2.max(pair[1].2));
            return Err(invalid(format!("{name}[{a}] and [{b}] overlap in {side}")));
        }
    }
    let length = map.to_string().len();
    match length >= PAGE {
        true => Err(invalid(format!(
            "{name}: {length} bytes as text, the kernel takes less than {PAGE}: use fewer ranges"
        ))),
        false => Ok(Some(map)),
    }
}

fn inside(range: &IdRange) -> u32 {
    range.inside
}

fn outside(range: &IdRange) -> u32 {
    range.outside
}

/// The largest number is nobody's id: setuid(2).
fn range(mapping: &LinuxIdMapping) -> Result<IdRange> {
    let range = IdRange { inside: mapping.container_id(), outside: mapping.host_id(), size: mapping.size() };
    if range.size == 0 {
        return Err(invalid("size 0 is no range of ids"));
    }
    for (what, start) in [("containerID", range.inside), ("hostID", range.outside)] {
        if u64::from(start) + u64::from(range.size) > u32::MAX.into() {
            return Err(invalid(format!(
                "{what} {start} and size {} go beyond the largest id, 4294967294",
                range.size
            )));
        }
    }
    Ok(range)
}

#[cfg(test)]
mod tests {
    use super::{IdMap, IdMaps};

    fn planned(uid: &str) -> Result<IdMap, String> {
        let json = format!(
            r#"{{"uidMappings":[{uid}],"gidMappings":[{{"containerID":0,"hostID":1000,"size":1}}]}}"#
        );
        let linux = serde_json::from_str(&json).unwrap();
        IdMaps::plan(&linux).map(|maps| maps.unwrap().uid).map_err(|e| format!("{e:#}"))
    }

    fn range(inside: u64, outside: u64, size: u64) -> String {
        format!(r#"{{"containerID":{inside},"hostID":{outside},"size":{size}}}"#)
    }

    fn joined(ranges: &[String]) -> String {
        ranges.join(",")
    }

    #[test]
    fn what_the_kernel_would_refuse_is_refused_with_its_reason() {
        let largest = u64::from(u32::MAX);
        for (ranges, words) in [
            (vec![range(0, 5, 0)], "[0]: size 0"),
            (vec![range(0, 5, 1), range(1, 2, 0)], "[1]: size 0"),
            (vec![range(largest, 0, 1)], "[0]: containerID 4294967295 and size 1 go beyond"),
            (vec![range(0, largest, 1)], "[0]: hostID 4294967295 and size 1 go beyond"),
            (vec![range(0, 4_000_000_000, 300_000_000)], "[0]: hostID 4000000000 and size 300000000"),
            (vec![range(0, 0, 9), range(8, 20, 1)], "[0] and [1] overlap in containerID"),
            (vec![range(50, 100, 9), range(0, 108, 5)], "[0] and [1] overlap in hostID"),
            (vec![range(0, 0, 1), range(9, 9, 1), range(0, 5, 1)], "[0] and [2] overlap in containerID"),
            ((0..341).map(|n| range(n, n, 1)).collect(), "341 ranges, the kernel takes 340"),
            ((0..340).map(|n| range(n * 2 + 100_000, n * 2 + 100_000, 1)).collect(), "use fewer ranges"),
        ] {
            let error = planned(&joined(&ranges)).unwrap_err();
            assert!(error.starts_with("linux.uidMappings") && error.contains(words), "{error}");
        }
    }

    #[test]
    fn what_the_kernel_takes_is_taken() {
        let most: Vec<String> = (0..340).map(|n| range(n, n, 1)).collect();
        let ends = [range(0, 4_294_967_294, 1), range(1, 0, 4_294_967_294)];
        let behind_each_other = [range(10, 110, 5), range(0, 100, 10), range(15, 115, 1)];
        for ranges in [&most[..], &ends[..], &behind_each_other[..]] {
            assert_eq!(planned(&joined(ranges)).unwrap().ranges.len(), ranges.len());
        }
    }

    #[test]
    fn one_map_without_the_other_is_refused() {
        for (given, missing) in [("uidMappings", "gidMappings"), ("gidMappings", "uidMappings")] {
            let json = format!(r#"{{"{given}":[{{"containerID":0,"hostID":0,"size":1}}]}}"#);
            let error = IdMaps::plan(&serde_json::from_str(&json).unwrap()).unwrap_err().to_string();
            assert_eq!(error, format!("linux.{given} needs linux.{missing} beside it"));
        }
    }

    #[test]
    fn a_map_knows_its_ids() {
        let map = planned(&joined(&[range(10, 1000, 5), range(3, 77, 1)])).unwrap();
        let has: Vec<u32> = (0..20).filter(|id| map.has(*id)).collect();
        assert_eq!(has, [3, 10, 11, 12, 13, 14]);
        assert_eq!((map.first(), map.to_string().as_str()), (3, "10 1000 5\n3 77 1\n"));
        assert!(!map.is_only(1000));
        assert!(planned(&range(7, 1000, 1)).unwrap().is_only(1000));
        assert!(!planned(&range(7, 1000, 2)).unwrap().is_only(1000));
    }
}
