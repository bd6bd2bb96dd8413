//! Node.js: the one on PATH, Debian's, or a newer one from the npm registry.

use std::ffi::{OsStr, OsString};
use std::path::Path;
use std::process::{Command, Stdio};
use std::{env, fs};

use vault_servers::packages::apt_install;

use crate::Result;
use crate::context::{Context, run};

/// The oldest one on which the provider of `tests/oidc-provider` runs. Keep in step with its `package.json`.
const OLDEST: [u32; 3] = [20, 19, 0];
/// Fetched when the one on PATH is older: Debian 12 has Node 18.
const PINNED: &str = "22.23.3";
const SYSTEM_CA: &str = "/etc/ssl/certs/ca-certificates.crt";

/// Finds a Node.js that is new enough; gets one where this machine allows it.
pub(crate) fn find(context: &Context) -> Result<OsString> {
    if version("node").is_none() || version("npm").is_none() {
        install()?;
    }
    match version("node") {
        Some(found) if found >= OLDEST => Ok("node".into()),
        _ => fetch(context),
    }
}

/// Installs the packages of a lock file into `folder`, unless the ones there come from the same lock file.
pub(crate) fn npm_ci(folder: &Path) -> Result<()> {
    let wanted = fs::read(folder.join("package-lock.json"))?;
    let installed = folder.join("node_modules/.installed-from");
    if fs::read(&installed).is_ok_and(|lock| lock == wanted) {
        return Ok(());
    }
    run(npm("ci").current_dir(folder))?;
    Ok(fs::write(installed, wanted)?)
}

fn npm(command: &str) -> Command {
    let mut npm = Command::new("npm");
    npm.args([command, "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"]);
    npm.env("NO_UPDATE_NOTIFIER", "1").stdin(Stdio::null()).stdout(Stdio::null());
    // Node brings its own list of authorities: behind a proxy only the system's list knows that one's.
    if env::var_os("NODE_EXTRA_CA_CERTS").is_none() && Path::new(SYSTEM_CA).exists() {
        npm.env("NODE_EXTRA_CA_CERTS", SYSTEM_CA);
    }
    npm
}

/// As root on Debian.
fn install() -> Result<()> {
    // NodeSource's package has npm inside, and conflicts with Debian's.
    apt_install(&["nodejs", "npm"]).or_else(|error| apt_install(&["nodejs"]).map_err(|_| error)).map_err(
        |error| format!("Node.js or npm is not on PATH; install Node.js 20.19 or newer with npm ({error})"),
    )?;
    match (version("node"), version("npm")) {
        (Some(_), Some(_)) => Ok(()),
        _ => Err("apt-get installed no usable Node.js with npm".into()),
    }
}

/// The registry has Node.js itself as a package for each platform.
fn fetch(context: &Context) -> Result<OsString> {
    let arch = match (env::consts::OS, env::consts::ARCH) {
        ("linux", "x86_64") => "x64",
        ("linux", "aarch64") => "arm64",
        _ => return Err("the Node.js on PATH is too old; the tests' provider needs 20.19 or newer".into()),
    };
    let folder = context.cache("node")?;
    let program = folder.join(format!("node_modules/node-linux-{arch}/bin/node"));
    if version(&program) != parse(PINNED) {
        eprintln!("the Node.js on PATH is older than 20.19: fetching {PINNED}");
        run(npm("install").arg("--prefix").arg(&folder).arg(format!("node-linux-{arch}@{PINNED}")))?;
    }
    Ok(program.into())
}

fn version(program: impl AsRef<OsStr>) -> Option<[u32; 3]> {
    let output = Command::new(program).arg("--version").stdin(Stdio::null()).output().ok()?;
    parse(str::from_utf8(&output.stdout).ok()?)
}

/// `v20.20.2` is `[20, 20, 2]`.
fn parse(version: &str) -> Option<[u32; 3]> {
    let mut numbers =
        version.trim().trim_start_matches('v').split('.').map_while(|number| number.parse().ok());
    Some([numbers.next()?, numbers.next()?, numbers.next()?])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_compare_by_number() {
        assert_eq!(parse("v20.20.2\n"), Some([20, 20, 2]));
        assert!(parse("v18.20.4") < Some(OLDEST));
        assert!(parse("v20.9.0") < Some(OLDEST));
        assert!(parse("v100.0.0") > Some(OLDEST));
        assert_eq!(parse("not a version"), None);
    }
}
