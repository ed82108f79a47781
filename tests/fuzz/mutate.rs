//! New inputs from old ones: of bytes, and of JSON as a tree, where a change of bytes would mostly only break
//! the form.

use serde_json::Value;

use super::targets::Input;

/// xorshift64*: the same numbers from the same seed everywhere.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// From 0 to `end`, without it; 0 where there is nothing to choose from.
    pub(crate) fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() % u64::try_from(end.max(1)).unwrap_or(u64::MAX)).unwrap_or(0)
    }

    pub(crate) fn choose<'t, T>(&mut self, list: &'t [T]) -> &'t T {
        &list[self.below(list.len())]
    }
}

/// Texts that have been trouble somewhere.
const TEXTS: [&str; 34] = [
    "",
    "/",
    "..",
    "../..",
    "/../x",
    ".",
    "a/b",
    "%d",
    "%s",
    "0",
    "-1",
    "4294967295",
    "18446744073709551616",
    "0-1023",
    "a=b",
    "=",
    ",",
    ":",
    "a:b:c",
    "\0",
    "\n",
    "é",
    "\u{feff}",
    "/proc",
    "/dev/null",
    "/sys/fs/cgroup",
    "bind",
    "rbind",
    "idmap",
    "remount",
    "rro",
    "max",
    "net.ipv4.conf.eth0/1.x",
    "user",
];

const NUMBERS: [i64; 14] = [
    0,
    1,
    -1,
    2,
    64,
    127,
    4095,
    4096,
    65535,
    2_147_483_647,
    2_147_483_648,
    4_294_967_295,
    4_294_967_296,
    i64::MAX,
];

/// One change of an input.
pub(crate) fn mutated(input: &[u8], form: Input, others: &[Vec<u8>], random: &mut Random) -> Vec<u8> {
    if form != Input::Bytes && random.below(8) != 0 {
        if let Ok(mut tree) = serde_json::from_slice::<Value>(input) {
            let other = serde_json::from_slice(random.choose(others).as_slice()).unwrap_or(Value::Null);
            change_tree(&mut tree, &other, random);
            return tree.to_string().into_bytes();
        }
    }
    change_bytes(input.to_vec(), others, random)
}

/// Replaces, removes, doubles or adds one of the values in the tree.
fn change_tree(tree: &mut Value, other: &Value, random: &mut Random) {
    let count = count(tree);
    let new = match random.below(4) {
        0 => Value::from(*random.choose(&TEXTS)),
        1 => Value::from(*random.choose(&NUMBERS)),
        2 => nth(other, random.below(self::count(other))).clone(),
        _ => random
            .choose(&[Value::Null, true.into(), Value::Array(Vec::new()), serde_json::json!({})])
            .clone(),
    };
    let at = nth_mut(tree, random.below(count));
    match (random.below(4), at) {
        (0, Value::Array(list)) if !list.is_empty() => drop(list.remove(random.below(list.len()))),
        (1, Value::Array(list)) => {
            let twice = list.first().cloned().unwrap_or(new);
            list.push(twice);
        }
        (0, Value::Object(map)) if !map.is_empty() => {
            let key = map.keys().nth(random.below(map.len())).cloned().unwrap_or_default();
            map.remove(&key);
        }
        (1, Value::Object(map)) => {
            match other.as_object().and_then(|o| o.iter().nth(random.below(o.len()))) {
                Some((key, value)) => drop(map.insert(key.clone(), value.clone())),
                None => drop(map.insert(random.choose(&TEXTS).to_string(), new)),
            }
        }
        (2, Value::String(text)) => {
            let more = *random.choose(&TEXTS);
            text.push_str(more);
        }
        (_, at) => *at = new,
    }
}

/// How many values there are in the tree, with itself.
fn count(tree: &Value) -> usize {
    1 + match tree {
        Value::Array(list) => list.iter().map(count).sum(),
        Value::Object(map) => map.values().map(count).sum(),
        _ => 0,
    }
}

fn nth(tree: &Value, index: usize) -> &Value {
    fn find<'t>(tree: &'t Value, left: &mut usize) -> Option<&'t Value> {
        if *left == 0 {
            return Some(tree);
        }
        *left -= 1;
        match tree {
            Value::Array(list) => list.iter().find_map(|value| find(value, left)),
            Value::Object(map) => map.values().find_map(|value| find(value, left)),
            _ => None,
        }
    }
    find(tree, &mut { index }).unwrap_or(tree)
}

fn nth_mut(tree: &mut Value, index: usize) -> &mut Value {
    if index == 0 {
        return tree;
    }
    let mut left = index - 1;
    let children: Vec<&mut Value> = match tree {
        Value::Array(list) => list.iter_mut().collect(),
        Value::Object(map) => map.values_mut().collect(),
        // Only with an index that is too large; then the last one found it is.
        leaf => return leaf,
    };
    for child in children {
        let size = count(child);
        if left < size {
            return nth_mut(child, left);
        }
        left -= size;
    }
    unreachable!("the index is below the count")
}

fn change_bytes(mut input: Vec<u8>, others: &[Vec<u8>], random: &mut Random) -> Vec<u8> {
    let at = random.below(input.len() + 1);
    match random.below(6) {
        0 if at < input.len() => input[at] ^= 1 << random.below(8),
        1 => input.truncate(at),
        2 => drop(input.splice(at..at, random.choose(&TEXTS).bytes())),
        3 if at < input.len() => {
            let end = at + 1 + random.below((input.len() - at).min(16));
            input.drain(at..end.min(input.len()));
        }
        4 => {
            let other = random.choose(others);
            let from = random.below(other.len() + 1);
            input.truncate(at);
            input.extend_from_slice(&other[from..]);
        }
        _ => drop(input.splice(at..at, NUMBERS[random.below(NUMBERS.len())].to_string().bytes())),
    }
    input
}
