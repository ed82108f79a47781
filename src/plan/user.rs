//! `process.user`: config.md, "POSIX-platform User"; and what crun's annotation changes of it.

use std::str::FromStr;

use super::Authority;
use super::id_maps::IdMaps;
use super::namespaces::Namespaces;
use crate::error::{Result, invalid};
use crate::spec::for_exec::ForExec;
use crate::spec::oci::{Linux, LinuxIdMapping, LinuxNamespaceType, Spec, User};

/// The supplementary groups of a process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Groups {
    /// These and no others, whatever the caller has.
    Are(Vec<u32>),
    /// The caller's own.
    AreKept,
}

impl Groups {
    /// Refuses groups where an ordinary user can set none.
    pub(super) fn admit(&self, maps: &IdMaps, authority: Authority) -> Result<()> {
        let asked_for = matches!(self, Self::Are(groups) if !groups.is_empty());
        // Of a single group it is his own, and he may map that only where groups can't be dropped.
        if asked_for && authority == Authority::User && maps.gid.is_single() {
            return Err(invalid(
                "process: user.additionalGids: an ordinary user who maps only his own group can set no groups \
                 (setgroups is denied, user_namespaces(7)); leave them out, or map groups of /etc/subgid, too",
            ));
        }
        Ok(())
    }
}

/// crun's: the container keeps the caller's supplementary groups, whatever value this has and whatever groups
/// are given (podman: `--group-add keep-groups`).
pub const KEEP_GROUPS: &str = "run.oci.keep_original_groups";

/// Which ids there are in the container, and whose groups it has.
#[derive(Clone, Copy, Debug)]
pub struct Ids<'a> {
    /// `None` where every id is one, or where nobody knows: a user namespace that is joined.
    maps: Option<[&'a [LinuxIdMapping]; 2]>,
    keeps_groups: bool,
}

impl<'a> Ids<'a> {
    /// Those of a container.
    pub fn of(spec: &'a Spec, linux: &'a Linux, namespaces: &Namespaces) -> Self {
        let maps = [linux.uid_mappings(), linux.gid_mappings()].map(|map| map.as_deref().unwrap_or_default());
        Self {
            maps: namespaces.makes(LinuxNamespaceType::User).then_some(maps),
            keeps_groups: spec.annotations().as_ref().is_some_and(|all| all.contains_key(KEEP_GROUPS)),
        }
    }

    /// The same, by what is kept of it.
    pub fn kept(kept: &'a ForExec) -> Self {
        let maps = [kept.uid_mappings.as_slice(), kept.gid_mappings.as_slice()];
        Self { maps: (!kept.uid_mappings.is_empty()).then_some(maps), keeps_groups: kept.keeps_groups }
    }

    /// Checks the user's own id and group.
    pub fn check(&self, user: &User) -> Result<()> {
        id("user.uid", user.uid())?;
        id("user.gid", user.gid())?;
        self.check_map(0, "user.uid", user.uid())?;
        self.check_map(1, "user.gid", user.gid())
    }

    /// Plans `additionalGids`.
    pub fn groups(&self, user: &User) -> Result<Groups> {
        /// setgroups(2), NGROUPS_MAX.
        const MOST: usize = 65_536;
        if self.keeps_groups {
            return Ok(Groups::AreKept);
        }
        let groups = user.additional_gids().clone().unwrap_or_default();
        if groups.len() > MOST {
            return Err(invalid(format!(
                "user.additionalGids: {} groups, the kernel takes {MOST}",
                groups.len()
            )));
        }
        for (index, group) in groups.iter().enumerate() {
            let name = || format!("user.additionalGids[{index}]");
            id(&name(), *group)?;
            self.check_map(1, &name(), *group)?;
        }
        Ok(Groups::Are(groups))
    }

    fn check_map(&self, which: usize, name: &str, id: u32) -> Result<()> {
        let Some(maps) = self.maps else { return Ok(()) };
        let inside = |m: &LinuxIdMapping| id.checked_sub(m.container_id()).is_some_and(|n| n < m.size());
        match maps[which].iter().any(inside) {
            true => Ok(()),
            false => {
                let map = ["linux.uidMappings", "linux.gidMappings"][which];
                Err(invalid(format!(
                    "{name}: {id} is not in the container's user namespace: no range of {map} has it"
                )))
            }
        }
    }
}

/// A user as the command line of `exec` names one: `UID[:GID]`. A name is none: nobody but the image could say
/// whose it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Numeric {
    /// process.user.uid
    pub uid: u32,
    /// process.user.gid, if it is given.
    pub gid: Option<u32>,
}

impl FromStr for Numeric {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        // What is taken is what would be written: no sign, no blank, no zero in front (CVE-2026-30892).
        let number =
            |text: &str| text.parse::<u32>().ok().filter(|id| *id != u32::MAX && id.to_string() == text);
        let parsed = match text.split_once(':') {
            None => number(text).map(|uid| Self { uid, gid: None }),
            Some((uid, gid)) => number(uid).zip(number(gid)).map(|(uid, gid)| Self { uid, gid: Some(gid) }),
        };
        parsed.ok_or_else(|| {
            invalid(format!("{text:?} is not of the form UID or UID:GID, numbers below 4294967295"))
        })
    }
}

/// setuid(2): the largest number means "leave it", so it is nobody's id.
fn id(name: &str, id: u32) -> Result<()> {
    match id {
        u32::MAX => Err(invalid(format!("{name}: {id} is not an id"))),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::{Groups, Ids, Namespaces};
    use crate::spec::oci::Spec;
    use serde_json::{Value, json};

    fn planned(user: Value, more: Value) -> Result<Groups, String> {
        let mut config =
            json!({ "ociVersion": "1.3.0", "linux": {}, "process": { "cwd": "/", "user": user } });
        config.as_object_mut().unwrap().append(&mut more.as_object().unwrap().clone());
        let spec: Spec = serde_json::from_value(config).unwrap();
        let linux = spec.linux().as_ref().unwrap();
        let ids = Ids::of(&spec, linux, &Namespaces::plan(linux).unwrap());
        let user = spec.process().as_ref().unwrap().user();
        ids.check(user).and_then(|()| ids.groups(user)).map_err(|e| format!("{e:#}"))
    }

    fn user_namespace() -> Value {
        let map = |first: u32| json!([{ "containerID": first, "hostID": 100_000, "size": 10 }]);
        json!({ "linux": { "namespaces": [{ "type": "user" }], "uidMappings": map(0), "gidMappings": map(5) } })
    }

    #[test]
    fn groups_are_as_given_however_often_and_as_many_as_the_kernel_takes() {
        let user = |groups: Vec<u32>| json!({ "uid": 1, "gid": 1, "additionalGids": groups });
        assert_eq!(planned(user(vec![5, 5, 6]), json!({})), Ok(Groups::Are(vec![5, 5, 6])));
        assert!(planned(user((0..65_536).collect()), json!({})).is_ok());
        let error = planned(user((0..65_537).collect()), json!({})).unwrap_err();
        assert_eq!(error, "user.additionalGids: 65537 groups, the kernel takes 65536");
        assert!(
            planned(user(vec![1, u32::MAX]), json!({})).unwrap_err().starts_with("user.additionalGids[1]: ")
        );
        let none = planned(json!({ "uid": u32::MAX, "gid": 0 }), json!({})).unwrap_err();
        assert_eq!(none, "user.uid: 4294967295 is not an id");
    }

    #[test]
    fn an_id_that_is_not_mapped_is_refused_with_the_map_that_lacks_it() {
        for (uid, gid, groups, words) in [
            (
                10,
                5,
                vec![],
                "user.uid: 10 is not in the container's user namespace: no range of linux.uidMappings",
            ),
            (
                0,
                4,
                vec![],
                "user.gid: 4 is not in the container's user namespace: no range of linux.gidMappings",
            ),
            (0, 15, vec![], "user.gid: 15"),
            (0, 5, vec![14, 15], "user.additionalGids[1]: 15"),
        ] {
            let user = json!({ "uid": uid, "gid": gid, "additionalGids": groups });
            let error = planned(user, user_namespace()).unwrap_err();
            assert!(error.starts_with(words), "{error}");
        }
        assert!(planned(json!({ "uid": 9, "gid": 14, "additionalGids": [5] }), user_namespace()).is_ok());
        // What a namespace that is joined maps only the kernel knows.
        let joined = json!({ "linux": { "namespaces": [{ "type": "user", "path": "/proc/1/ns/user" }] } });
        assert!(planned(json!({ "uid": 4242, "gid": 4242 }), joined).is_ok());
    }

    #[test]
    fn a_user_of_the_command_line_is_a_number_or_two_and_nothing_else() {
        use super::Numeric;
        for (text, uid, gid) in
            [("0", 0, None), ("1", 1, None), ("1:2", 1, Some(2)), ("4294967294:0", u32::MAX - 1, Some(0))]
        {
            assert_eq!(text.parse::<Numeric>().unwrap(), Numeric { uid, gid });
        }
        for bad in [
            "",
            ":",
            "1:",
            ":1",
            "-1",
            "+1",
            " 1",
            "1 ",
            "01",
            "0x0",
            "00",
            "root",
            "1:web",
            "1:2:3",
            "4294967295",
            "4294967296",
            "1:4294967295",
            "18446744073709551616",
            "1\n",
            "\u{661}",
        ] {
            assert!(bad.parse::<Numeric>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn the_annotation_keeps_the_callers_groups() {
        for value in ["1", "", "0"] {
            let mut config = user_namespace();
            config["annotations"] = json!({ super::KEEP_GROUPS: value });
            let user = json!({ "uid": 0, "gid": 5, "additionalGids": [99] });
            assert_eq!(planned(user, config), Ok(Groups::AreKept));
        }
    }
}
