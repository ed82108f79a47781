//! `linux.personality`: config-linux.md, "Personality".

use crate::error::{Result, invalid};
use crate::spec::oci::{LinuxPersonality, LinuxPersonalityDomain};

/// personality(2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Personality {
    /// PER_LINUX, without any flag that the caller may run with.
    Linux,
    /// PER_LINUX32: uname(2) names the processor as a 32-bit one.
    Linux32,
}

/// Plans it.
pub fn plan(personality: &LinuxPersonality) -> Result<Personality> {
    if let Some(flag) = personality.flags().iter().flatten().next() {
        return Err(invalid(format!("linux.personality.flags: {flag:?}: the specification has none yet")));
    }
    Ok(match personality.domain() {
        LinuxPersonalityDomain::PerLinux => Personality::Linux,
        LinuxPersonalityDomain::PerLinux32 => Personality::Linux32,
    })
}

#[cfg(test)]
mod tests {
    use super::{Personality, plan};

    #[test]
    fn domains_are_taken_and_flags_refused() {
        let planned = |json: &str| plan(&serde_json::from_str(json).unwrap()).map_err(|e| format!("{e:#}"));
        assert_eq!(planned(r#"{"domain":"LINUX"}"#), Ok(Personality::Linux));
        assert_eq!(planned(r#"{"domain":"LINUX32","flags":[]}"#), Ok(Personality::Linux32));
        let refused = planned(r#"{"domain":"LINUX32","flags":["ADDR_NO_RANDOMIZE"]}"#).unwrap_err();
        assert!(refused.starts_with("linux.personality.flags: \"ADDR_NO_RANDOMIZE\""), "{refused}");
    }
}
