//! `-u USER[:GROUP]` and the image's databases: the user in the first line, then passwd(5), and group(5) after
//! an empty line.

use minidocker_oci::frontend::user::User;

use super::says_something;

pub(super) fn entry(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let (name, databases) = text.split_once('\n').unwrap_or((&text, ""));
    let (passwd, group) = databases.split_once("\n\n").unwrap_or((databases, ""));
    let user = match name.parse::<User>() {
        Ok(user) => user,
        Err(error) => return says_something(&error),
    };
    let read =
        |path: &'static str| Ok(if path.ends_with("passwd") { passwd.to_owned() } else { group.to_owned() });
    let identity = match user.identity(&read) {
        Ok(identity) => identity,
        Err(error) => return says_something(&error),
    };
    assert!(identity.uid != u32::MAX && identity.groups.iter().all(|gid| *gid != u32::MAX), "{identity:?}");
    assert!(identity.groups.contains(&identity.gid), "{identity:?}");
    // A number is that number, whoever the image says has it.
    let (who, of) = name.split_once(':').unwrap_or((name, ""));
    assert!(who.parse().map_or(true, |uid: u32| uid == identity.uid), "{name:?} is {identity:?}");
    assert!(of.parse().map_or(true, |gid: u32| gid == identity.gid), "{name:?} is {identity:?}");
    let listed = |uid: u32| passwd.lines().any(|l| l.split(':').nth(2) == Some(&uid.to_string()));
    assert!(who.parse::<u32>().is_ok() || listed(identity.uid), "{name:?} is {identity:?} in {passwd:?}");
}
