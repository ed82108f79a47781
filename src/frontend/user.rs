//! `-u USER[:GROUP]`: numbers, or names that the image has in its passwd(5) and group(5).
//!
//! The image is not trusted: its files are read as data through the rootfs, and what it says there never
//! changes what a number means (CVE-2024-40635, CVE-2026-47262, CVE-2024-9676).

use std::path::Path;
use std::str::FromStr;

use crate::error::{Doing, Kind, Result, best_effort, failure, invalid, kind_of};
use crate::rootpath::{InRootfs, Rootfs};
use crate::sys::fs;

/// Files larger than this are not read.
const LARGEST: u64 = 10 << 20;
/// NGROUPS_MAX.
const MOST_GROUPS: usize = 65536;

/// What `-u` asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    user: Named,
    group: Option<Named>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Named {
    Id(u32),
    Name(String),
}

/// Who the container's command runs as.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// setuid(2)
    pub uid: u32,
    /// setgid(2)
    pub gid: u32,
    /// `gid` is among them: it must not be one that a program can drop (CVE-2022-2989).
    pub groups: Vec<u32>,
}

impl FromStr for User {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        match text.split_once(':') {
            Some((user, group)) => Ok(Self { user: user.parse()?, group: Some(group.parse()?) }),
            None => Ok(Self { user: text.parse()?, group: None }),
        }
    }
}

impl FromStr for Named {
    type Err = anyhow::Error;

    /// What begins like a number is one, or an error: no name of the image can take its place.
    fn from_str(text: &str) -> Result<Self> {
        if let Some(id) = id(text) {
            return Ok(Self::Id(id));
        }
        let is_name = text.starts_with(|c: char| c.is_alphabetic() || c == '_')
            && !text.contains(|c: char| c.is_whitespace() || c.is_control() || c == ':');
        match is_name {
            true => Ok(Self::Name(text.to_owned())),
            false => Err(invalid(format!("{text:?} is neither an id (0 to {}) nor a name", u32::MAX - 1))),
        }
    }
}

/// A decimal number as it would be printed. The largest one means "none" to the kernel.
fn id(text: &str) -> Option<u32> {
    let plain = text.bytes().all(|b| b.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    text.parse().ok().filter(|id| plain && *id != u32::MAX)
}

impl User {
    /// Looks names up in the image.
    pub(super) fn resolve(&self, root: &Rootfs) -> Result<Identity> {
        self.identity(&|path| database(root, path))
    }

    /// Who that is by the databases that `read` has, by their paths in the image. A user without a group has
    /// the one of passwd(5), or 0. An error if a name is in no database, or one has no valid ids.
    pub fn identity(&self, read: &dyn Fn(&'static str) -> Result<String>) -> Result<Identity> {
        let (uid, account) = match &self.user {
            Named::Name(name) => {
                let account = account_of(&read(PASSWD)?, name).doing(|| PASSWD)?;
                (account.uid, Some(account))
            }
            Named::Id(uid) if self.group.is_none() => (*uid, account_with(&optional(read(PASSWD)), *uid)),
            Named::Id(uid) => (*uid, None),
        };
        let gid = match &self.group {
            None => None,
            Some(Named::Id(gid)) => Some(*gid),
            Some(Named::Name(name)) => Some(group_of(&read(GROUP)?, name).doing(|| GROUP)?),
        };
        if let Some(gid) = gid {
            // Who names a group gets that one and no others.
            return Ok(Identity { uid, gid, groups: vec![gid] });
        }
        let gid = account.as_ref().map_or(0, |account| account.gid);
        let mut groups = vec![gid];
        if let Some(account) = account {
            memberships(&optional(read(GROUP)), &account.name, &mut groups).doing(|| GROUP)?;
        }
        Ok(Identity { uid, gid, groups })
    }
}

const PASSWD: &str = "/etc/passwd";
const GROUP: &str = "/etc/group";

/// A file of the image in which a name has to be found.
fn database(root: &Rootfs, path: &'static str) -> Result<String> {
    let read = || -> Result<String> {
        let file = root.open_regular(&InRootfs::new(Path::new(path))?)?;
        let file = file.ok_or_else(|| failure(Kind::NotFound, "the image has no such file"))?;
        Ok(String::from_utf8_lossy(&fs::read_all(file, LARGEST)?).into_owned())
    };
    read().doing(|| path)
}

/// One in which nothing has to be found: without it there are fewer groups.
fn optional(database: Result<String>) -> String {
    database.unwrap_or_else(|error| {
        if kind_of(&error) != Kind::NotFound {
            best_effort::<(), _>("the image's users", Err(error));
        }
        String::new()
    })
}

struct Account {
    name: String,
    uid: u32,
    gid: u32,
}

fn account(line: &str) -> Option<Account> {
    let mut fields = line.split(':');
    let name = fields.next()?.to_owned();
    Some(Account { name, uid: id(fields.nth(1)?)?, gid: id(fields.next()?)? })
}

fn account_of(passwd: &str, name: &str) -> Result<Account> {
    account(line_of(passwd, name)?).ok_or_else(|| invalid(format!("{name:?} has no valid ids")))
}

fn account_with(passwd: &str, uid: u32) -> Option<Account> {
    passwd.lines().filter_map(account).find(|account| account.uid == uid)
}

fn group_of(groups: &str, name: &str) -> Result<u32> {
    line_of(groups, name)?
        .split(':')
        .nth(2)
        .and_then(id)
        .ok_or_else(|| invalid(format!("{name:?} has no valid id")))
}

fn line_of<'t>(text: &'t str, name: &str) -> Result<&'t str> {
    let found = text.lines().find(|line| line.split(':').next() == Some(name));
    found.ok_or_else(|| failure(Kind::NotFound, format!("there is no {name:?}")))
}

/// Adds the groups that have `user` as a member.
fn memberships(text: &str, user: &str, groups: &mut Vec<u32>) -> Result<()> {
    let mut seen: std::collections::BTreeSet<u32> = groups.iter().copied().collect();
    for line in text.lines() {
        let mut fields = line.split(':').skip(2);
        let Some(gid) = fields.next().and_then(id) else {
            continue;
        };
        let is_member = fields.next().is_some_and(|members| members.split(',').any(|member| member == user));
        if is_member && seen.insert(gid) {
            groups.push(gid);
        }
    }
    match groups.len() > MOST_GROUPS {
        true => {
            Err(invalid(format!("{user:?} is in {} groups, the kernel takes {MOST_GROUPS}", groups.len())))
        }
        false => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::{Named, User, account_of, account_with, group_of, id, memberships};

    const PASSWD: &str =
        "root:x:0:0:root:/root:/bin/sh\n1000:x:0:0\nweb:x:33:34::/:\nbig:x:4294967296:0\nnone:x::\n";

    #[test]
    fn a_number_is_one_only_as_it_would_be_printed() {
        for bad in [
            "",
            "+1",
            "-1",
            " 1",
            "1 ",
            "0x0",
            "01",
            "00",
            "1e3",
            "4294967295",
            "4294967296",
            "18446744073709551616",
        ] {
            assert_eq!(id(bad), None, "{bad:?}");
        }
        for good in [0, 1, 65534, 4294967294] {
            assert_eq!(id(&good.to_string()), Some(good));
        }
    }

    #[test]
    fn garbage_is_no_user() {
        let bad = [
            "",
            ":",
            "1:",
            ":1",
            "0x0",
            "-1",
            "+1",
            " 1",
            "1:2:3",
            "4294967295",
            "4294967296",
            "root:",
            "a b",
            "a\0",
        ];
        for bad in bad {
            assert!(bad.parse::<User>().is_err(), "{bad:?}");
        }
        for good in ["0", "1:2", "root", "root:0", "1:staff", "_apt", "www-data", "é"] {
            assert!(good.parse::<User>().is_ok(), "{good:?}");
        }
        assert_eq!("1000".parse::<Named>().unwrap(), Named::Id(1000));
    }

    #[test]
    fn an_image_does_not_say_what_a_number_means() {
        assert!(account_with(PASSWD, 1000).is_none());
        let web = account_with(PASSWD, 33).unwrap();
        assert_eq!((web.uid, web.gid, web.name.as_str()), (33, 34, "web"));
    }

    #[test]
    fn a_name_without_a_valid_id_is_an_error_and_not_root() {
        assert_eq!(account_of(PASSWD, "web").unwrap().uid, 33);
        for bad in ["big", "none", "nosuch"] {
            assert!(account_of(PASSWD, bad).is_err(), "{bad}");
        }
        assert_eq!(group_of("root:x:0:\nweb:x:34:a,b\n", "web").unwrap(), 34);
        assert!(group_of("web:x:-1:\n", "web").is_err());
    }

    #[test]
    fn groups_are_those_that_list_the_user() {
        let mut groups = vec![34];
        memberships("a:x:1:web,x\nb:x:2:webs\nc:x:bad:web\nd:x:34:web\ne:x:5:x,web", "web", &mut groups)
            .unwrap();
        assert_eq!(groups, [34, 1, 5]);
    }
}
