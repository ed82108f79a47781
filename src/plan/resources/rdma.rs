//! `linux.resources.rdma`: config-linux.md, "RDMA", and "RDMA Interface Files" in cgroup-v2.rst.

use std::collections::{BTreeMap, HashMap};

use super::{Write, write};
use crate::error::{Doing, Result, invalid};
use crate::spec::oci::LinuxRdma;

/// The writes of these limits: a line for each device, in the order of their names.
pub(super) fn writes(devices: &HashMap<String, LinuxRdma>) -> Result<Vec<Write>> {
    let devices: BTreeMap<_, _> = devices.iter().collect();
    let line = |(name, limits): (&String, &LinuxRdma)| {
        line(name, limits).doing(|| format!("linux.resources.rdma {name:?}"))
    };
    devices.into_iter().map(line).collect()
}

fn line(name: &str, limits: &LinuxRdma) -> Result<Write> {
    if name.is_empty() || name.contains(|c: char| c.is_whitespace() || c == '\0') {
        return Err(invalid("it is not the name of a device"));
    }
    let keys = [("hca_handle", limits.hca_handles()), ("hca_object", limits.hca_objects())];
    let keys: String =
        keys.iter().filter_map(|(key, value)| value.map(|value| format!(" {key}={value}"))).collect();
    match keys.as_str() {
        "" => Err(invalid("it has neither hcaHandles nor hcaObjects")),
        keys => Ok(write("rdma", "rdma.max", format!("{name}{keys}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::writes;

    #[test]
    fn a_device_has_one_line_with_what_is_limited() {
        let lines =
            writes(r#"{"rdma":{"mlx5_1":{"hcaHandles":3,"hcaObjects":100},"mlx4_0":{"hcaObjects":0}}}"#);
        let line = |text: &str| ("rdma.max".to_owned(), text.to_owned());
        let expected = [line("mlx4_0 hca_object=0"), line("mlx5_1 hca_handle=3 hca_object=100")];
        assert_eq!(lines.unwrap(), expected);
    }

    #[test]
    fn a_device_without_a_name_or_a_limit_is_refused() {
        let error = writes(r#"{"rdma":{"mlx5_1":{}}}"#).unwrap_err();
        assert_eq!(error, r#"linux.resources.rdma "mlx5_1": it has neither hcaHandles nor hcaObjects"#);
        for name in ["", "a b", "a\\nb"] {
            let error = writes(&format!(r#"{{"rdma":{{"{name}":{{"hcaHandles":3}}}}}}"#)).unwrap_err();
            assert!(error.ends_with("it is not the name of a device"), "{error}");
        }
    }
}
