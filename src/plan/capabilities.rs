//! `process.capabilities`: config.md, "Linux Process"; capabilities(7).

use crate::error::{Result, invalid};
use crate::spec::oci::{Capabilities, Capability, Process};

/// The five sets as masks, bit n is capability n.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "the kernel's own names")]
pub struct CapabilitySets {
    pub bounding: u64,
    pub effective: u64,
    pub permitted: u64,
    pub inheritable: u64,
    pub ambient: u64,
}

impl CapabilitySets {
    /// Plans them: a set that is not given is empty.
    pub fn plan(process: &Process) -> Self {
        let Some(sets) = process.capabilities() else {
            return Self::default();
        };
        Self {
            bounding: mask(sets.bounding().as_ref()),
            effective: mask(sets.effective().as_ref()),
            permitted: mask(sets.permitted().as_ref()),
            inheritable: mask(sets.inheritable().as_ref()),
            ambient: mask(sets.ambient().as_ref()),
        }
    }

    /// These and one more, which is neither inheritable nor ambient (CVE-2022-29162).
    pub fn and(self, capability: u8) -> Self {
        let more = 1 << capability;
        Self {
            bounding: self.bounding | more,
            effective: self.effective | more,
            permitted: self.permitted | more,
            ..self
        }
    }

    /// These, as far as a process that has `available` can give them: what is effective has to be permitted,
    /// what is inheritable has to be in the bounding set, and what is ambient permitted and inheritable.
    pub fn within(self, available: u64) -> Self {
        let bounding = self.bounding & available;
        let permitted = self.permitted & available;
        let inheritable = self.inheritable & bounding;
        Self {
            bounding,
            effective: self.effective & permitted,
            permitted,
            inheritable,
            ambient: self.ambient & permitted & inheritable,
        }
    }

    /// What these have in some set and `granted` has not in the same one.
    pub fn beyond(self, granted: Self) -> u64 {
        self.bounding & !granted.bounding
            | self.effective & !granted.effective
            | self.permitted & !granted.permitted
            | self.inheritable & !granted.inheritable
            | self.ambient & !granted.ambient
    }
}

fn mask(set: Option<&Capabilities>) -> u64 {
    set.into_iter().flatten().filter_map(number).fold(0, |mask, n| mask | 1 << n)
}

/// The number of a capability by its name, in any case, with or without `CAP_`.
pub fn named(name: &str) -> Result<u8> {
    let upper = name.to_ascii_uppercase();
    let full = if upper.starts_with("CAP_") { upper } else { format!("CAP_{upper}") };
    let known = full.parse::<caps::Capability>().ok().map(|capability| capability.index());
    known.ok_or_else(|| invalid(format!("{name:?} is not the name of a capability")))
}

/// The kernel's number of a capability, through the names that both crates share.
fn number(capability: &Capability) -> Option<u8> {
    let name = capability.to_string();
    let name = if name.starts_with("CAP_") { name } else { format!("CAP_{name}") };
    name.parse::<caps::Capability>().ok().map(|c| c.index())
}

#[cfg(test)]
mod tests {
    use super::CapabilitySets;

    fn planned(json: &str) -> CapabilitySets {
        let process = format!(r#"{{"user":{{}},"cwd":"/"{json}}}"#);
        CapabilitySets::plan(&serde_json::from_str(&process).unwrap())
    }

    #[test]
    fn sets_that_are_not_given_are_empty() {
        let sets = planned(r#","capabilities":{"bounding":["CAP_KILL"]}"#);
        assert_eq!(sets, CapabilitySets { bounding: 1 << 5, ..CapabilitySets::default() });
        assert_eq!(planned(""), CapabilitySets::default());
    }

    #[test]
    fn one_more_is_not_inherited() {
        assert_eq!(["CAP_KILL", "kill", "cap_kill"].map(|name| super::named(name).unwrap()), [5; 3]);
        assert!(
            ["", "CAP_", "CAP_TIME_TRAVEL", "5", "CAP_CAP_KILL"]
                .iter()
                .all(|name| super::named(name).is_err())
        );
        let before = planned(r#","capabilities":{"inheritable":["CAP_CHOWN"]}"#);
        let expected =
            CapabilitySets { bounding: 32, effective: 32, permitted: 32, inheritable: 1, ambient: 0 };
        assert_eq!(before.and(5), expected);
    }

    #[test]
    fn only_what_can_be_granted_is() {
        let asked = CapabilitySets {
            bounding: 0b0011,
            effective: 0b0111,
            permitted: 0b0101,
            inheritable: 0b0110,
            ambient: 0b0111,
        };
        let granted = asked.within(0b1111);
        let expected = CapabilitySets {
            bounding: 0b0011,
            effective: 0b0101,
            permitted: 0b0101,
            inheritable: 0b0010,
            ambient: 0,
        };
        assert_eq!(granted, expected);
        assert_eq!(asked.beyond(granted), 0b0111);
        assert_eq!(asked.within(0), CapabilitySets::default());
        let all = CapabilitySets { bounding: 3, effective: 3, permitted: 3, inheritable: 3, ambient: 3 };
        assert_eq!((all.within(7), all.beyond(all)), (all, 0));
    }
}
