//! Mount options: the words of config.md, "Linux mount options", as mount attributes, superblock
//! parameters and propagation. Words that are not in the tables are the file system's own.

use crate::error::{Result, invalid, unsupported};
use crate::sys::mount::{MountAttr, attr};

/// Where a word belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Word {
    /// Sets a mount attribute.
    Set(u64),
    /// Clears one.
    Clear(u64),
    /// One value of the access time field.
    Atime(u64),
    /// The same three for the mount and all below it.
    SetBelow(u64),
    ClearBelow(u64),
    AtimeBelow(u64),
    /// A superblock parameter without value.
    Superblock(&'static str),
    /// Recognised, and what happens anyway.
    Nothing,
    Bind(Bind),
    Remount,
    CopyUp,
    /// Known to the field, not to this program.
    Later,
}

/// Whether a bind takes what is mounted below its source along.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bind {
    /// `bind`
    Top,
    /// `rbind`
    Recursive,
}

/// mount_namespaces(7), in the eight words of rootfsPropagation and of mount options.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Propagation {
    /// One of MS_PRIVATE, MS_SLAVE, MS_SHARED, MS_UNBINDABLE.
    pub mode: u64,
    /// The `r` in front: for all mounts below too.
    pub recursive: bool,
}

impl Propagation {
    /// `private`, `rprivate`, `slave`, ...
    pub fn parse(word: &str) -> Option<Self> {
        let (recursive, base) = match word.strip_prefix('r') {
            Some(base) => (true, base),
            None => (false, word),
        };
        let mode = match base {
            "private" => libc::MS_PRIVATE,
            "slave" => libc::MS_SLAVE,
            "shared" => libc::MS_SHARED,
            "unbindable" => libc::MS_UNBINDABLE,
            _ => return None,
        };
        Some(Self { mode, recursive })
    }

    /// What a mount gets that says nothing: nothing travels between host and container.
    pub const NONE: Self = Self { mode: libc::MS_PRIVATE, recursive: true };
}

/// Every word the tables know; `features` prints them.
const WORDS: &[(&str, Word)] = &[
    ("", Word::Nothing), // podman writes empty options
    ("async", Word::Nothing),
    ("atime", Word::Atime(0)),
    ("bind", Word::Bind(Bind::Top)),
    ("copy-symlink", Word::Later),
    ("defaults", Word::Nothing),
    ("dest-nofollow", Word::Later),
    ("dev", Word::Clear(attr::NODEV)),
    ("diratime", Word::Clear(attr::NODIRATIME)),
    ("dirsync", Word::Superblock("dirsync")),
    ("exec", Word::Clear(attr::NOEXEC)),
    ("idmap", Word::Later),
    ("iversion", Word::Nothing), // a matter of each file system by now; the new mount API has no word for it
    ("lazytime", Word::Superblock("lazytime")),
    ("loud", Word::Nothing),
    ("mand", Word::Nothing), // no effect since Linux 5.15
    ("noatime", Word::Atime(attr::NOATIME)),
    ("nodev", Word::Set(attr::NODEV)),
    ("nodiratime", Word::Set(attr::NODIRATIME)),
    ("noexec", Word::Set(attr::NOEXEC)),
    ("noiversion", Word::Nothing),
    ("nolazytime", Word::Nothing),
    ("nomand", Word::Nothing),
    ("norelatime", Word::Atime(0)),
    ("nostrictatime", Word::Atime(0)),
    ("nosuid", Word::Set(attr::NOSUID)),
    ("nosymfollow", Word::Set(attr::NOSYMFOLLOW)),
    ("ratime", Word::AtimeBelow(0)),
    ("rbind", Word::Bind(Bind::Recursive)),
    ("rdev", Word::ClearBelow(attr::NODEV)),
    ("rdiratime", Word::ClearBelow(attr::NODIRATIME)),
    ("relatime", Word::Atime(0)),
    ("remount", Word::Remount),
    ("rexec", Word::ClearBelow(attr::NOEXEC)),
    ("ridmap", Word::Later),
    ("rnoatime", Word::AtimeBelow(attr::NOATIME)),
    ("rnodev", Word::SetBelow(attr::NODEV)),
    ("rnodiratime", Word::SetBelow(attr::NODIRATIME)),
    ("rnoexec", Word::SetBelow(attr::NOEXEC)),
    ("rnorelatime", Word::AtimeBelow(0)),
    ("rnostrictatime", Word::AtimeBelow(0)),
    ("rnosuid", Word::SetBelow(attr::NOSUID)),
    ("rnosymfollow", Word::SetBelow(attr::NOSYMFOLLOW)),
    ("ro", Word::Set(attr::RDONLY)),
    ("rrelatime", Word::AtimeBelow(0)),
    ("rro", Word::SetBelow(attr::RDONLY)),
    ("rrw", Word::ClearBelow(attr::RDONLY)),
    ("rstrictatime", Word::AtimeBelow(attr::STRICTATIME)),
    ("rsuid", Word::ClearBelow(attr::NOSUID)),
    ("rsymfollow", Word::ClearBelow(attr::NOSYMFOLLOW)),
    ("rw", Word::Clear(attr::RDONLY)),
    ("silent", Word::Nothing), // messages go to the context's log, which is read
    ("src-nofollow", Word::Later),
    ("strictatime", Word::Atime(attr::STRICTATIME)),
    ("suid", Word::Clear(attr::NOSUID)),
    ("symfollow", Word::Clear(attr::NOSYMFOLLOW)),
    ("sync", Word::Superblock("sync")),
    ("tmpcopyup", Word::CopyUp),
];

const PROPAGATION_WORDS: [&str; 8] =
    ["private", "rprivate", "slave", "rslave", "shared", "rshared", "unbindable", "runbindable"];

/// The options that work, sorted, as `features` lists them.
pub fn known() -> Vec<&'static str> {
    let words = WORDS.iter().filter(|(name, word)| !name.is_empty() && *word != Word::Later);
    let mut names: Vec<_> = words.map(|(name, _)| *name).chain(PROPAGATION_WORDS).collect();
    names.sort_unstable();
    names
}

/// A file system's own parameter: `key` or `key=value`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parameter {
    /// Such as `size`.
    pub key: String,
    /// Such as `65536k`.
    pub value: Option<String>,
}

/// The options of one mount, told apart.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// For the mount itself.
    pub attr: MountAttr,
    /// For the mount and all below it.
    pub attr_below: MountAttr,
    /// `bind` or `rbind` was among them.
    pub bind: Option<Bind>,
    /// `remount` was among them.
    pub remount: bool,
    /// `tmpcopyup` was among them: a tmpfs begins with what it covers.
    pub copy_up: bool,
    /// In the order in which they were given.
    pub propagation: Vec<Propagation>,
    /// Superblock flags and the file system's own parameters.
    pub parameters: Vec<Parameter>,
}

impl Options {
    /// Sorts the words; later ones win.
    pub fn parse<S: AsRef<str>>(words: &[S]) -> Result<Self> {
        let mut options = Self::default();
        for word in words {
            options.add(word.as_ref())?;
        }
        Ok(options)
    }

    fn add(&mut self, text: &str) -> Result<()> {
        if text.contains('\0') {
            return Err(invalid(format!("option {text:?} has a NUL byte")));
        }
        if let Some(propagation) = Propagation::parse(text) {
            self.propagation.push(propagation);
            return Ok(());
        }
        match WORDS.binary_search_by_key(&text, |(name, _)| name) {
            Ok(at) => self.add_word(text, WORDS[at].1),
            Err(_) => {
                let (key, value) =
                    text.split_once('=').map_or((text, None), |(k, v)| (k, Some(v.to_owned())));
                if key.is_empty() {
                    return Err(invalid(format!("option {text:?} has no name before the \"=\"")));
                }
                self.parameters.push(Parameter { key: key.to_owned(), value });
                Ok(())
            }
        }
    }

    fn add_word(&mut self, text: &str, word: Word) -> Result<()> {
        match word {
            Word::Set(bit) => change(&mut self.attr, bit, 0),
            Word::Clear(bit) => change(&mut self.attr, 0, bit),
            Word::Atime(value) => atime(&mut self.attr, value),
            Word::SetBelow(bit) => change(&mut self.attr_below, bit, 0),
            Word::ClearBelow(bit) => change(&mut self.attr_below, 0, bit),
            Word::AtimeBelow(value) => atime(&mut self.attr_below, value),
            Word::Superblock(key) => self.parameters.push(Parameter { key: key.to_owned(), value: None }),
            Word::Nothing => {}
            Word::Bind(depth) => self.bind = Some(depth),
            Word::Remount => self.remount = true,
            Word::CopyUp => self.copy_up = true,
            Word::Later => return Err(unsupported(format!("mount option {text:?} is not supported yet"))),
        }
        Ok(())
    }
}

fn change(attr: &mut MountAttr, set: u64, clear: u64) {
    attr.set = attr.set & !clear | set;
    attr.clear = attr.clear & !set | clear;
}

/// mount_setattr(2): the access time field has to be cleared as a whole when it changes.
fn atime(attr: &mut MountAttr, value: u64) {
    attr.set = attr.set & !attr::ATIME | value;
    attr.clear |= attr::ATIME;
}

#[cfg(test)]
mod tests {
    use super::{Bind, Options, Parameter, Propagation, WORDS, attr, known};

    fn parse(words: &[&str]) -> Options {
        Options::parse(words).unwrap()
    }

    #[test]
    fn the_table_is_sorted_so_that_it_can_be_searched() {
        assert!(WORDS.windows(2).all(|w| w[0].0 < w[1].0));
    }

    #[test]
    fn the_later_of_two_opposite_words_wins() {
        let options = parse(&["ro", "nosuid", "rw"]);
        assert_eq!((options.attr.set, options.attr.clear), (attr::NOSUID, attr::RDONLY));
    }

    #[test]
    fn access_time_is_a_field_and_not_a_set_of_bits() {
        let options = parse(&["noatime", "strictatime"]);
        assert_eq!((options.attr.set, options.attr.clear), (attr::STRICTATIME, attr::ATIME));
    }

    #[test]
    fn words_with_r_reach_below_and_rbind_and_rprivate_are_not_among_them() {
        let options = parse(&["rbind", "rro", "rprivate"]);
        assert_eq!(options.attr_below.set, attr::RDONLY);
        assert_eq!(options.bind, Some(Bind::Recursive));
        assert_eq!(options.propagation, [Propagation::parse("rprivate").unwrap()]);
    }

    #[test]
    fn a_value_without_a_name_is_refused() {
        assert!(Options::parse(&["=relatime"]).is_err());
    }

    #[test]
    fn unknown_words_are_the_file_systems_own_and_empty_ones_are_skipped() {
        let options = parse(&["size=65536k", "", "usrquota", "context=\"a=b\""]);
        let parameter =
            |key: &str, value: Option<&str>| Parameter { key: key.into(), value: value.map(Into::into) };
        let expected = [
            parameter("size", Some("65536k")),
            parameter("usrquota", None),
            parameter("context", Some("\"a=b\"")),
        ];
        assert_eq!(options.parameters, expected);
    }

    #[test]
    fn all_mandatory_options_of_config_md_are_known() {
        let mandatory = "async atime bind defaults dev diratime dirsync exec iversion lazytime loud noatime nodev \
            nodiratime noexec noiversion nolazytime norelatime nostrictatime nosuid private rbind relatime remount ro \
            rprivate rshared rslave runbindable rw shared silent slave strictatime suid sync unbindable";
        let known = known();
        assert_eq!(mandatory.split_whitespace().filter(|w| !known.contains(w)).count(), 0);
    }
}
