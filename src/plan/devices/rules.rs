//! The rules of `resources.devices` with nothing left open: config-linux.md, "Allowed Device list".

use super::DEFAULT;
use crate::error::{Result, invalid};
use crate::spec::oci::{LinuxDeviceCgroup, LinuxDeviceType};

/// One rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Rule {
    pub(super) allow: bool,
    /// `None` is both.
    pub(super) kind: Option<Kind>,
    pub(super) major: Option<u32>,
    pub(super) minor: Option<u32>,
    /// Bits of BPF_DEVCG_ACC_MKNOD (1), READ (2), WRITE (4).
    pub(super) access: u8,
}

/// What a device is, by the number that the kernel's programs have for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// BPF_DEVCG_DEV_BLOCK
    Block = 1,
    /// BPF_DEVCG_DEV_CHAR
    Char = 2,
}

const MKNOD: u8 = 1;
/// Every access.
pub(super) const ALL: u8 = 7;

/// What `linux.devices` names is not among it: whether that can be opened is for the configuration's rules to say.
pub(super) fn always_allowed() -> Vec<Rule> {
    let any = Rule { allow: true, kind: None, major: None, minor: None, access: MKNOD };
    let char = |major, minor| Rule { kind: Some(Kind::Char), major: Some(major), minor, access: ALL, ..any };
    let mut rules = vec![any, char(136, None), char(5, Some(1)), char(5, Some(2))];
    rules.extend(DEFAULT.iter().map(|(_, major, minor)| char(*major, Some(*minor))));
    rules
}

pub(super) fn parse(rule: &LinuxDeviceCgroup) -> Result<Rule> {
    let kind = match rule.typ() {
        None | Some(LinuxDeviceType::A) => None,
        Some(LinuxDeviceType::B) => Some(Kind::Block),
        Some(LinuxDeviceType::C | LinuxDeviceType::U) => Some(Kind::Char),
        Some(LinuxDeviceType::P) => return Err(invalid("type p has no rules")),
    };
    // Absent and negative numbers are wildcards.
    let number = |n: Option<i64>| match n {
        Some(n) if n >= 0 => {
            u32::try_from(n).map(Some).ok().ok_or_else(|| invalid(format!("{n} is not a device number")))
        }
        _ => Ok(None),
    };
    let access = rule.access().as_deref().unwrap_or("rwm");
    let bit = |letter| match letter {
        'm' => Ok(MKNOD),
        'r' => Ok(2),
        'w' => Ok(4),
        other => Err(invalid(format!("access {access:?}: {other:?} is none of r, w, m"))),
    };
    let access_bits = access.chars().map(bit).collect::<Result<Vec<_>>>()?.into_iter().fold(0, |a, b| a | b);
    if access_bits == 0 {
        return Err(invalid("access is empty"));
    }
    Ok(Rule {
        allow: rule.allow(),
        kind,
        major: number(rule.major())?,
        minor: number(rule.minor())?,
        access: access_bits,
    })
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn an_unknown_access_is_refused() {
        for access in ["x", "", "rwx"] {
            let rule = format!(r#"{{"allow":false,"access":"{access}"}}"#);
            assert!(parse(&serde_json::from_str(&rule).unwrap()).is_err(), "{access:?}");
        }
    }
}
