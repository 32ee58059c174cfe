//! Tells the crate which commit it is built from, as far as a git checkout is there to tell.
//!
//! The commit is taken at build time because a checkout can move on under a finished program. It
//! is read by hand, so that a build needs no git.

use std::{
    fs,
    path::{Path, PathBuf},
};

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    // Only a checkout of this workspace counts: a published crate may lie inside another one.
    let git = Path::new(env!("CARGO_MANIFEST_DIR")).join("../.git");
    if let Some(commit) = folder(&git).and_then(|folder| commit(&folder)) {
        println!("cargo::rustc-env=CPR_GIT_COMMIT={commit}");
    }
}

/// The folder of the checkout's HEAD; in a linked worktree `.git` is a file that names it.
fn folder(git: &Path) -> Option<PathBuf> {
    if git.is_dir() {
        return Some(git.to_owned());
    }
    let text = fs::read_to_string(git).ok()?;
    Some(git.parent()?.join(text.strip_prefix("gitdir:")?.trim()))
}

/// The commit that HEAD stands on, directly or by way of a branch.
fn commit(folder: &Path) -> Option<String> {
    let head = watched(&folder.join("HEAD"))?;
    let Some(branch) = head.trim().strip_prefix("ref:").map(str::trim) else {
        return checked(&head);
    };
    // Changes with every commit, also with the first one after branches were packed.
    watched(&folder.join("logs/HEAD"));
    // Branches of a linked worktree are those of the main one.
    let common = fs::read_to_string(folder.join("commondir"))
        .map_or_else(|_| folder.to_owned(), |common| folder.join(common.trim()));
    if let Some(text) = watched(&common.join(branch)) {
        return checked(&text);
    }
    let packed = watched(&common.join("packed-refs"))?;
    let mut lines = packed.lines().filter_map(|line| line.split_once(' '));
    checked(lines.find(|(_, name)| *name == branch)?.0)
}

/// The text of a file, which is watched from now on if it exists.
fn watched(path: &Path) -> Option<String> {
    let text = fs::read_to_string(path).ok()?;
    println!("cargo::rerun-if-changed={}", path.display());
    Some(text)
}

fn checked(commit: &str) -> Option<String> {
    let commit = commit.trim();
    let is_hash = commit.len() >= 40 && commit.bytes().all(|byte| byte.is_ascii_hexdigit());
    is_hash.then(|| commit.to_owned())
}
