//! The directories of an overlay: the kernel's documentation, filesystems/overlayfs.rst.

use std::path::Path;

use crate::plan::options::{LONGEST_VALUE, Parameter};

/// Has relative directories start at the bundle, and not wherever init happens to be, which is the container's
/// own tree; and hands a list that is longer than one value can be over layer by layer (since Linux 6.8).
pub(super) fn settle(parameters: &mut Vec<Parameter>, bundle: &Path) {
    let given = std::mem::take(parameters);
    for parameter in given {
        match (parameter.key.as_str(), &parameter.value) {
            ("lowerdir", Some(list)) => parameters.extend(lower(list, bundle)),
            ("upperdir" | "workdir", Some(dir)) => {
                parameters.push(Parameter::string(&parameter.key, absolute(dir, bundle)));
            }
            ("lowerdir+" | "datadir+", Some(dir)) => {
                // These are not escaped.
                let dir = bundle.join(dir).to_string_lossy().into_owned();
                parameters.push(Parameter::string(&parameter.key, dir));
            }
            _ => parameters.push(parameter),
        }
    }
}

/// All of them as the one text that mount(2) takes, without `ro`, which is a flag of its own there.
pub fn whole(parameters: &[Parameter]) -> String {
    let (mut words, mut layers): (Vec<String>, _) = (Vec::new(), String::new());
    for parameter in parameters {
        match (parameter.key.as_str(), &parameter.value) {
            ("ro" | "rw", None) => {}
            ("lowerdir+" | "datadir+", Some(dir)) => {
                let between = match (layers.is_empty(), parameter.key.as_str()) {
                    (true, _) => "lowerdir=",
                    (false, "datadir+") => "::",
                    (false, _) => ":",
                };
                layers += &format!("{between}{}", escaped(dir));
            }
            (key, Some(value)) if parameter.is_context() => words.push(format!("{key}=\"{value}\"")),
            (key, Some(value)) => words.push(format!("{key}={value}")),
            (key, None) => words.push(key.to_owned()),
        }
    }
    words.extend(Some(layers).filter(|layers| !layers.is_empty()));
    words.join(",")
}

/// One directory of the list, still escaped.
struct Layer<'a> {
    dir: &'a str,
    /// Behind `::`: its data alone is used.
    data_only: bool,
}

fn lower(list: &str, bundle: &Path) -> Vec<Parameter> {
    let layers = layers(list);
    let joined = layers.iter().fold(String::new(), |mut joined, layer| {
        joined.push_str(match (joined.is_empty(), layer.data_only) {
            (true, _) => "",
            (false, false) => ":",
            (false, true) => "::",
        });
        joined + &absolute(layer.dir, bundle)
    });
    if joined.len() <= LONGEST_VALUE {
        return vec![Parameter::string("lowerdir", joined)];
    }
    let one = |layer: &Layer<'_>| {
        let key = if layer.data_only { "datadir+" } else { "lowerdir+" };
        Parameter::string(key, unescaped(&absolute(layer.dir, bundle)))
    };
    layers.iter().map(one).collect()
}

/// Colons separate, but for those behind a backslash.
fn layers(list: &str) -> Vec<Layer<'_>> {
    let (mut layers, mut start, mut escaped) = (Vec::new(), 0, false);
    let mut data_only = false;
    for (at, c) in list.char_indices().chain([(list.len(), ':')]) {
        if c == ':' && !escaped {
            match &list[start..at] {
                "" => data_only = true,
                dir => layers.push(Layer { dir, data_only }),
            }
            start = at + 1;
        }
        escaped = c == '\\' && !escaped;
    }
    layers
}

fn absolute(dir: &str, bundle: &Path) -> String {
    match dir.starts_with('/') {
        true => dir.to_owned(),
        false => format!("{}/{dir}", escaped(&bundle.to_string_lossy())),
    }
}

fn escaped(dir: &str) -> String {
    dir.chars().flat_map(|c| [Some('\\').filter(|_| "\\:,".contains(c)), Some(c)]).flatten().collect()
}

fn unescaped(dir: &str) -> String {
    let mut chars = dir.chars();
    let mut plain = String::new();
    while let Some(c) = chars.next() {
        plain.push(if c == '\\' { chars.next().unwrap_or(c) } else { c });
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::{Parameter, settle};
    use std::path::Path;

    fn settled(key: &str, value: &str) -> Vec<Parameter> {
        let mut parameters = vec![Parameter::string(key, value)];
        settle(&mut parameters, Path::new("/b:1"));
        parameters
    }

    #[test]
    fn relative_directories_start_at_the_bundle() {
        assert_eq!(settled("upperdir", "up"), [Parameter::string("upperdir", "/b\\:1/up")]);
        assert_eq!(
            settled("lowerdir", "low:/a\\:b::data"),
            [Parameter::string("lowerdir", "/b\\:1/low:/a\\:b::/b\\:1/data")]
        );
        assert_eq!(settled("metacopy", "on"), [Parameter::string("metacopy", "on")]);
    }

    #[test]
    fn a_list_that_is_too_long_for_one_value_is_handed_over_by_layer() {
        let long = "x".repeat(150);
        assert_eq!(
            settled("lowerdir", &format!("/{long}:/a\\:b/{long}::/{long}")),
            [
                Parameter::string("lowerdir+", format!("/{long}")),
                Parameter::string("lowerdir+", format!("/a:b/{long}")),
                Parameter::string("datadir+", format!("/{long}")),
            ]
        );
    }

    #[test]
    fn as_one_text_layers_are_a_list_again() {
        let long = "x".repeat(300);
        let mut parameters =
            vec![Parameter::string("lowerdir", format!("/a\\,b:/{long}")), Parameter::flag("ro")];
        parameters.push(Parameter::string("context", "a:b:s0:c1,c2"));
        parameters.push(Parameter::string("upperdir", "up"));
        settle(&mut parameters, Path::new("/b,1"));
        let expected = format!("context=\"a:b:s0:c1,c2\",upperdir=/b\\,1/up,lowerdir=/a\\,b:/{long}");
        assert_eq!(super::whole(&parameters), expected);
    }
}
