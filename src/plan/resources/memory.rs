//! `linux.resources.memory`: config-linux.md, "Memory", and "Memory Interface Files" in cgroup-v2.rst.

use super::{Now, Write, limit, write};
use crate::error::{Doing, Result, invalid, unsupported};
use crate::spec::oci::LinuxMemory;

/// The kernel counts whole pages: with a limit of less than the smallest of them nothing can run.
const SMALLEST_PAGE: i64 = 4096;

/// The writes of these limits.
pub(super) fn writes(memory: &LinuxMemory, now: &Now) -> Result<Vec<Write>> {
    let only_v1 = [
        ("memory.kernel", memory.kernel().is_some_and(|v| v > 0)),
        ("memory.kernelTCP", memory.kernel_tcp().is_some_and(|v| v > 0)),
        ("memory.swappiness", memory.swappiness().is_some()),
        ("memory.disableOOMKiller", memory.disable_oom_killer() == Some(true)),
    ];
    if let Some((property, _)) = only_v1.iter().find(|(_, asked_for)| *asked_for) {
        return Err(unsupported(format!("linux.resources.{property}: cgroup v2 has nothing like it")));
    }
    let mut writes = Vec::new();
    // Engines write 0 for what they don't limit.
    let max = memory.limit().filter(|v| *v != 0);
    let swap = memory.swap().filter(|v| *v != 0);
    if let Some(max) = max {
        if (1..SMALLEST_PAGE).contains(&max) {
            return Err(invalid(format!(
                "linux.resources.memory.limit: {max} bytes are less than a page: no process could start or live"
            )));
        }
        writes.push(write("memory.limit", "memory.max", limit(max)));
    }
    if let Some(reservation) = memory.reservation().filter(|v| *v != 0) {
        writes.push(write("memory.reservation", "memory.low", limit(reservation)));
    }
    match (swap, max) {
        (Some(swap), _) => {
            let swap = swap_max(swap, max, now).doing(|| "linux.resources.memory.swap")?;
            writes.push(write("memory.swap", "memory.swap.max", swap));
        }
        // Both together are without a limit if one of them is; runc has it so, too.
        (None, Some(max)) if max < 0 && now.swap_max().is_some() => {
            writes.push(write("memory.limit", "memory.swap.max", "max"));
        }
        _ => {}
    }
    Ok(writes)
}

/// The specification counts memory and swap together, the kernel each for itself. What has no limit of memory in
/// the configuration may have one already.
fn swap_max(swap: i64, max: Option<i64>, now: &Now) -> Result<String> {
    let max = match max {
        Some(max) => u64::try_from(max).ok(),
        None => now.memory_max(),
    };
    match (u64::try_from(swap), max) {
        (Err(_), _) => Ok("max".to_owned()),
        (Ok(swap), Some(max)) => match swap.checked_sub(max) {
            Some(left) => Ok(left.to_string()),
            None => Err(invalid(format!(
                "{swap} is less than memory.limit, {max}: it counts memory and swap together"
            ))),
        },
        (Ok(_), None) => Err(invalid("it counts memory and swap together and needs memory.limit")),
    }
}

/// What has to be compared with the memory in use: `checkBeforeUpdate`.
pub(super) fn checked_limit(memory: &LinuxMemory) -> Option<u64> {
    let limit = memory.limit().filter(|_| memory.check_before_update() == Some(true))?;
    u64::try_from(limit).ok().filter(|limit| *limit != 0)
}

/// config-linux.md: a limit lower than the usage is rejected; the kernel would kill.
pub fn check_usage(limit: Option<u64>, used: u64) -> Result<()> {
    match limit.filter(|limit| *limit < used) {
        None => Ok(()),
        Some(limit) => Err(invalid(format!(
            "linux.resources.memory.limit: {limit} bytes are less than the {used} in use, which \
             checkBeforeUpdate asks to refuse"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{changes, writes};

    fn file(name: &str, value: &str) -> (String, String) {
        (name.to_owned(), value.to_owned())
    }

    #[test]
    fn swap_is_what_is_left_of_the_sum() {
        let swap = |json: &str| writes(json).map(|written| written.into_iter().nth(1));
        let max = |value| Ok(Some(file("memory.swap.max", value)));
        assert_eq!(swap(r#"{"memory":{"limit":10000,"swap":15000}}"#), max("5000"));
        assert_eq!(swap(r#"{"memory":{"limit":10000,"swap":10000}}"#), max("0"));
        assert_eq!(swap(r#"{"memory":{"limit":10000,"swap":-1}}"#), max("max"));
        assert_eq!(swap(r#"{"memory":{"limit":10000,"swap":0}}"#), Ok(None));
        let error = swap(r#"{"memory":{"limit":10000,"swap":5000}}"#).unwrap_err();
        assert!(
            error.starts_with("linux.resources.memory.swap: 5000 is less than memory.limit, 10000"),
            "{error}"
        );
        for without in [r#"{"memory":{"swap":5000}}"#, r#"{"memory":{"limit":-1,"swap":5000}}"#] {
            assert!(swap(without).unwrap_err().ends_with("needs memory.limit"), "{without}");
        }
        assert_eq!(writes(r#"{"memory":{"swap":-1}}"#).unwrap(), [file("memory.swap.max", "max")]);
    }

    #[test]
    fn an_update_of_the_sum_alone_goes_by_the_limit_there_is() {
        let swap = r#"{"memory":{"swap":15000}}"#;
        assert_eq!(changes(swap, "memory.max=8192").unwrap(), [file("memory.swap.max", "6808")]);
        for now in ["memory.max=max", "memory.max=16384"] {
            assert!(changes(swap, now).unwrap_err().contains("memory.limit"), "{now}");
        }
    }

    #[test]
    fn no_limit_of_memory_is_none_of_the_sum_either() {
        let both = [file("memory.max", "max"), file("memory.swap.max", "max")];
        assert_eq!(changes(r#"{"memory":{"limit":-1}}"#, "memory.swap.max=4096").unwrap(), both);
        assert_eq!(changes(r#"{"memory":{"limit":-1}}"#, "memory.swap.max=max").unwrap(), both[..1]);
        assert_eq!(writes(r#"{"memory":{"limit":-1}}"#).unwrap(), both[..1]);
    }

    #[test]
    fn a_reservation_is_kept_as_long_as_there_is_other_memory() {
        assert_eq!(writes(r#"{"memory":{"reservation":9}}"#).unwrap(), [file("memory.low", "9")]);
        assert_eq!(writes(r#"{"memory":{"reservation":-1}}"#).unwrap(), [file("memory.low", "max")]);
        assert_eq!(writes(r#"{"memory":{"reservation":0,"limit":0}}"#).unwrap(), []);
    }

    #[test]
    fn what_only_v1_has_is_refused_by_name() {
        for (property, value) in
            [("swappiness", "10"), ("kernel", "1"), ("kernelTCP", "1"), ("disableOOMKiller", "true")]
        {
            let error = writes(&format!(r#"{{"memory":{{"{property}":{value}}}}}"#)).unwrap_err();
            assert_eq!(error, format!("linux.resources.memory.{property}: cgroup v2 has nothing like it"));
        }
    }

    #[test]
    fn less_than_a_page_is_refused() {
        assert!(writes(r#"{"memory":{"limit":4095}}"#).unwrap_err().contains("less than a page"));
        assert!(writes(r#"{"memory":{"limit":4096}}"#).is_ok());
    }

    #[test]
    fn a_limit_below_the_usage_is_refused_where_that_is_asked_for() {
        let checked = |check: bool, now| {
            changes(&format!(r#"{{"memory":{{"limit":8192,"checkBeforeUpdate":{check}}}}}"#), now)
        };
        assert!(checked(true, "memory.current=8193").unwrap_err().contains("less than the 8193 in use"));
        assert!(checked(true, "memory.current=8192").is_ok());
        assert!(checked(false, "memory.current=8193").is_ok());
    }
}
