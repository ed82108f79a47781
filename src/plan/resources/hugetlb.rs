//! `linux.resources.hugepageLimits`: config-linux.md, "Huge page limits", and "HugeTLB" in cgroup-v2.rst.

use super::{Absence, Write, write};
use crate::error::{Doing, Result, invalid};
use crate::spec::oci::LinuxHugepageLimit;

/// Limits of reservations where the kernel has them, and of use: of what nobody has reserved, and for those who look
/// for the one file that is always there.
pub(super) fn writes(limits: &[LinuxHugepageLimit]) -> Result<Vec<Write>> {
    let mut writes = Vec::new();
    for (index, limit) in limits.iter().enumerate() {
        let what = || format!("linux.resources.hugepageLimits[{index}]");
        let size = limit.page_size();
        if !is_size(size) {
            return Err(invalid(format!("pageSize: {size:?} is not in the form of 64KB, 2MB or 1GB")))
                .doing(what);
        }
        let bytes = u64::try_from(limit.limit()).ok();
        let bytes =
            bytes.ok_or_else(|| invalid(format!("limit: {} is negative", limit.limit()))).doing(what)?;
        let file = |kind: &str| write("hugepageLimits", &format!("hugetlb.{size}.{kind}"), bytes.to_string());
        writes.extend([file("max"), Write { absence: Absence::Fine, ..file("rsvd.max") }]);
    }
    Ok(writes)
}

/// config-schema: `^[1-9][0-9]*[KMG]B$`.
fn is_size(text: &str) -> bool {
    let number = text.strip_suffix('B').and_then(|text| text.strip_suffix(['K', 'M', 'G']));
    number.is_some_and(|n| !n.is_empty() && !n.starts_with('0') && n.bytes().all(|b| b.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use super::{is_size, writes};
    use crate::plan::resources::Absence;

    fn planned(size: &str, limit: i64) -> Result<Vec<super::Write>, String> {
        let limits =
            serde_json::json!([{ "pageSize": "1GB", "limit": 1 }, { "pageSize": size, "limit": limit }]);
        writes(&serde_json::from_value::<Vec<_>>(limits).unwrap()).map_err(|e| format!("{e:#}"))
    }

    #[test]
    fn a_limit_is_one_of_use_and_of_reservations_where_there_are_any() {
        let written = planned("2MB", 4 << 20).unwrap();
        let part = |w: &super::Write| (w.file.clone(), w.value.clone(), w.absence.clone());
        assert_eq!(part(&written[2]), ("hugetlb.2MB.max".into(), "4194304".into(), Absence::Error));
        assert_eq!(part(&written[3]), ("hugetlb.2MB.rsvd.max".into(), "4194304".into(), Absence::Fine));
        assert!(written.iter().all(|w| w.controller.as_deref() == Some("hugetlb")));
        assert_eq!(planned("2MB", 0).unwrap()[2].value, "0");
    }

    #[test]
    fn a_size_or_limit_that_is_none_is_refused_by_its_place() {
        for size in ["64KB", "2MB", "1GB", "16GB", "10MB"] {
            assert!(is_size(size), "{size}");
        }
        for size in
            ["", "B", "MB", "02MB", "0KB", "2M", "2mb", "2TB", "2 MB", "-2MB", "2MBB", "../2MB", "2.max"]
        {
            let error = planned(size, 1).unwrap_err();
            assert!(error.starts_with("linux.resources.hugepageLimits[1]: pageSize: "), "{error}");
        }
        let error = planned("2MB", -1).unwrap_err();
        assert_eq!(error, "linux.resources.hugepageLimits[1]: limit: -1 is negative");
    }
}
