//! config-linux.md: devices.

use serde_json::json;

use crate::clause::{Clause, must};

const DEFAULT: &str = "config-linux.md#default-devices";
const ALSO: &str = "In addition to any devices configured with this setting, the runtime MUST also supply";

pub(crate) const CLAUSES: &[Clause] = &[must("linux.devices.default.null", (DEFAULT, ALSO), |lab| {
    lab.base().finds("/dev/null", json!({ "kind": "c", "major": 1, "minor": 3, "mode": 0o666 }))
})];
