//! One target of the fuzz targets under libFuzzer: `FUZZ_TARGET` names it. New inputs are made by libFuzzer's own
//! changes of bytes and, for JSON, by changes of the tree.
#![no_main]

#[path = "../mutate.rs"]
mod mutate;
#[path = "../targets/mod.rs"]
mod targets;

use std::sync::LazyLock;

use libfuzzer_sys::{fuzz_mutator, fuzz_target, fuzzer_mutate};
use targets::{Input, Target};

static TARGET: LazyLock<&Target> = LazyLock::new(|| {
    let name = std::env::var("FUZZ_TARGET").unwrap_or_default();
    targets::ALL.iter().find(|target| target.name == name).unwrap_or_else(|| panic!("FUZZ_TARGET={name:?}"))
});

fuzz_target!(|data: &[u8]| (TARGET.entry)(data));

fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| {
    let mut random = mutate::Random::new(seed.into());
    if TARGET.input == Input::Bytes || random.below(2) == 0 {
        return fuzzer_mutate(data, size, max_size);
    }
    let old = data[..size].to_vec();
    let new = mutate::mutated(&old, TARGET.input, std::slice::from_ref(&old), &mut random);
    let size = new.len().min(max_size).min(data.len());
    data[..size].copy_from_slice(&new[..size]);
    size
});
