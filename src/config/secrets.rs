//! The secrets a node makes for itself on its first start, and the lock on its data folder.
//!
//! Each secret is a file of 64 hexadecimal characters, readable by its owner only. The content may be moved to the setting of
//! the same purpose (`security.key_pepper`, `security.upstream_key`): both give the same bytes.

use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io::{self, Write},
    path::{Path, PathBuf},
};

use aws_lc_rs::digest;
use zeroize::{Zeroize, Zeroizing};

use super::settings::Settings;
use crate::{
    clock::fill_random,
    domain::key_hash::{FIRST_VERSION, PEPPERS_MAX},
    telemetry::redact::Secret,
};

const PEPPER_FILE: &str = "key_pepper";
/// Former peppers, one `VERSION:PEPPER` a line.
const FORMER_PEPPERS_FILE: &str = "key_peppers_previous";
const SEALING_FILE: &str = "sealing_key";
const NODE_FILE: &str = "node_id";
const LOCK_FILE: &str = "lock";

/// Made once at start.
#[derive(Clone)]
pub struct Secrets {
    /// Keys the hash of API keys.
    pub pepper: Pepper,
    /// Peppers before it, under which keys may still be kept.
    pub former_peppers: Vec<Pepper>,
    /// Encrypts the upstreams' keys in the database (256 bits).
    pub sealing_key: Zeroizing<[u8; 32]>,
    /// `server.node_name`, else an id that stays with the data folder.
    pub node_name: String,
    /// True when the pepper was made just now: no key in the database can match it.
    pub pepper_created: bool,
    /// True when the sealing key was made just now: no sealed upstream key can be opened with it.
    pub sealing_key_created: bool,
}

/// What keys the hash of API keys, and the number it is known by.
#[derive(Clone, PartialEq, Eq)]
pub struct Pepper {
    pub version: i32,
    pub secret: Zeroizing<Vec<u8>>,
}

impl Pepper {
    fn new(version: i32, text: &str) -> Self {
        Self { version, secret: Zeroizing::new(text.as_bytes().to_vec()) }
    }
}

impl std::fmt::Debug for Secrets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Secrets").field("node_name", &self.node_name).finish_non_exhaustive()
    }
}

#[derive(Debug, thiserror::Error)]
pub enum SecretsError {
    #[error("another pixgate process uses {0}; stop it, or give this one a server.data_dir of its own")]
    InUse(PathBuf),
    #[error("{path} is damaged: {what}; restore it from a backup")]
    Damaged { path: PathBuf, what: &'static str },
    #[error(
        "the key pepper comes from security.key_pepper, so only you can replace it: add the present one to security.previous_key_peppers \
         as VERSION:PEPPER, then set security.key_pepper and a higher security.key_pepper_version"
    )]
    PepperIsASetting,
    #[error(
        "keys are still kept under {0} former peppers, and more cannot be kept: wait until they were used, or have their owners rotate them"
    )]
    TooManyPeppers(usize),
    #[error("{path}: {source}")]
    Io { path: PathBuf, source: io::Error },
}

/// Creates the data folder if needed and takes it for this process until the file is dropped.
pub fn lock_data_dir(dir: &Path) -> Result<File, SecretsError> {
    create_private_dir(dir)?;
    let path = dir.join(LOCK_FILE);
    let file = OpenOptions::new().create(true).truncate(false).write(true).open(&path).map_err(at(&path))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(SecretsError::InUse(dir.to_owned())),
        Err(TryLockError::Error(source)) => Err(SecretsError::Io { path, source }),
    }
}

/// Reads the secrets from the settings or the data folder, and makes those that are missing. Call it under [`lock_data_dir`].
/// Whether a secret may be missing (an empty database) is the caller's check, by `pepper_created` and `sealing_key_created`.
pub fn load_or_create(data_dir: &Path, settings: &Settings) -> Result<Secrets, SecretsError> {
    create_private_dir(data_dir)?;
    let (pepper, pepper_created) = match &settings.security.key_pepper {
        Some(text) => (Pepper::new(i32::try_from(settings.security.key_pepper_version).unwrap_or(i32::MAX), text.expose()), false),
        None => pepper_of_file(&data_dir.join(PEPPER_FILE))?,
    };
    let from_settings = settings.security.previous_key_peppers.iter().filter_map(|text| parse_pepper(text.expose()));
    let mut former_peppers: Vec<Pepper> = Vec::new();
    for former in from_settings.map(|(version, text)| Pepper::new(version, text)).chain(former_of_file(data_dir)?) {
        // The file may still name the present one, when its replacement was cut short.
        if former.version != pepper.version && former_peppers.iter().all(|known| known.version != former.version) {
            former_peppers.push(former);
        }
    }
    if former_peppers.len() >= PEPPERS_MAX {
        return Err(SecretsError::TooManyPeppers(former_peppers.len()));
    }
    let (sealing, sealing_key_created) = secret(settings.security.upstream_key.as_ref(), &data_dir.join(SEALING_FILE))?;
    let mut sealing_key = Zeroizing::new([0; 32]);
    // Operators may choose a text of any length; the cipher needs 32 bytes.
    let mut context = digest::Context::new(&digest::SHA256);
    context.update(b"pixgate sealing key v1\0");
    context.update(sealing.expose().as_bytes());
    sealing_key.copy_from_slice(context.finish().as_ref());

    let node_name = match &settings.server.node_name {
        Some(name) => name.clone(),
        None => read_or_create(&data_dir.join(NODE_FILE), || format!("node-{}", &random_hex()[..12]))?.0.expose().to_owned(),
    };
    Ok(Secrets { pepper, former_peppers, sealing_key, node_name, pepper_created, sealing_key_created })
}

fn secret(setting: Option<&Secret>, path: &Path) -> Result<(Secret, bool), SecretsError> {
    if let Some(text) = setting {
        return Ok((text.clone(), false));
    }
    let (text, created) = read_or_create(path, random_hex)?;
    check_intact(path, text.expose())?;
    Ok((text, created))
}

fn check_intact(path: &Path, text: &str) -> Result<(), SecretsError> {
    if text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Ok(());
    }
    Err(SecretsError::Damaged { path: path.to_owned(), what: "it should hold 64 hexadecimal characters" })
}

/// Version and text of `VERSION:PEPPER`.
pub(super) fn parse_pepper(text: &str) -> Option<(i32, &str)> {
    let (version, pepper) = text.split_once(':')?;
    let version = version.trim().parse().ok().filter(|version| *version >= FIRST_VERSION)?;
    (!pepper.is_empty()).then_some((version, pepper))
}

/// The pepper in the data folder; a version stands before those that replaced another.
fn pepper_of_file(path: &Path) -> Result<(Pepper, bool), SecretsError> {
    let (text, created) = read_or_create(path, random_hex)?;
    let (version, pepper) = parse_pepper(text.expose()).unwrap_or((FIRST_VERSION, text.expose()));
    check_intact(path, pepper)?;
    Ok((Pepper::new(version, pepper), created))
}

fn former_of_file(data_dir: &Path) -> Result<Vec<Pepper>, SecretsError> {
    let path = data_dir.join(FORMER_PEPPERS_FILE);
    let text = match fs::read_to_string(&path) {
        Ok(text) => Zeroizing::new(text),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(source) => return Err(SecretsError::Io { path, source }),
    };
    let read = |line: &str| {
        let (version, pepper) =
            parse_pepper(line).ok_or_else(|| SecretsError::Damaged { path: path.clone(), what: "its lines should read VERSION:PEPPER" })?;
        check_intact(&path, pepper)?;
        Ok(Pepper::new(version, pepper))
    };
    text.lines().map(str::trim).filter(|line| !line.is_empty()).map(read).collect()
}

/// Replaces the pepper in the data folder and keeps the former ones that `is_needed` names by their version, the one that is replaced
/// in any case. Answers with the new version. A running node goes on with the old one until it is started again.
pub fn rotate_pepper(data_dir: &Path, settings: &Settings, is_needed: impl Fn(i32) -> bool) -> Result<i32, SecretsError> {
    if settings.security.key_pepper.is_some() {
        return Err(SecretsError::PepperIsASetting);
    }
    create_private_dir(data_dir)?;
    let path = data_dir.join(PEPPER_FILE);
    let (current, _) = pepper_of_file(&path)?;
    let mut former = former_of_file(data_dir)?;
    former.retain(|pepper| pepper.version != current.version && is_needed(pepper.version));
    let highest = former.iter().map(|pepper| pepper.version).chain([current.version]).max().unwrap_or(current.version);
    former.insert(0, current);
    if former.len() >= PEPPERS_MAX {
        return Err(SecretsError::TooManyPeppers(former.len() - 1));
    }
    let line = |pepper: &Pepper| format!("{}:{}", pepper.version, String::from_utf8_lossy(&pepper.secret));
    let lines = Zeroizing::new(former.iter().map(line).collect::<Vec<_>>().join("\n"));
    // In this order: a pepper that keys depend on is never in no file.
    let former_path = data_dir.join(FORMER_PEPPERS_FILE);
    write_new(&former_path, &lines).map_err(at(&former_path))?;
    let version = highest.saturating_add(1);
    let fresh = Zeroizing::new(format!("{version}:{}", random_hex()));
    write_new(&path, &fresh).map_err(at(&path))?;
    Ok(version)
}

/// The trimmed text of the file, and whether it was made just now.
fn read_or_create(path: &Path, make: impl FnOnce() -> String) -> Result<(Secret, bool), SecretsError> {
    match fs::read_to_string(path) {
        Ok(text) if text.trim().is_empty() => Err(SecretsError::Damaged { path: path.to_owned(), what: "it is empty" }),
        Ok(text) => Ok((Secret::new(text.trim()), false)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let text = Secret::new(make());
            write_new(path, text.expose()).map_err(at(path))?;
            Ok((text, true))
        }
        Err(source) => Err(SecretsError::Io { path: path.to_owned(), source }),
    }
}

/// All or nothing, and on the disk before the first key depends on it.
fn write_new(path: &Path, text: &str) -> io::Result<()> {
    let draft = path.with_extension("new");
    match fs::remove_file(&draft) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(&draft)?;
    file.write_all(text.as_bytes())?;
    file.write_all(b"\n")?;
    file.sync_all()?;
    fs::rename(&draft, path)?;
    match path.parent() {
        Some(dir) => File::open(dir)?.sync_all(),
        None => Ok(()),
    }
}

/// Makes a folder that only its owner may enter, and those above it.
pub fn create_private_dir(dir: &Path) -> Result<(), SecretsError> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(dir).map_err(at(dir))
}

fn at(path: &Path) -> impl FnOnce(io::Error) -> SecretsError {
    let path = path.to_owned();
    move |source| SecretsError::Io { path, source }
}

fn random_hex() -> String {
    let mut bytes = [0; 32];
    fill_random(&mut bytes);
    let text = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    bytes.zeroize();
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn made_once_and_private() {
        let dir = tempfile::tempdir().unwrap();
        let data_dir = dir.path().join("deep/data");
        let first = load_or_create(&data_dir, &Settings::default()).unwrap();
        let again = load_or_create(&data_dir, &Settings::default()).unwrap();
        assert!(first.pepper_created && first.sealing_key_created && !again.pepper_created && !again.sealing_key_created);
        assert_eq!((first.pepper.secret.len(), first.pepper.version, &first.node_name[..5]), (64, 1, "node-"));
        assert!(first.pepper == again.pepper);
        assert_eq!((&first.sealing_key, &first.node_name), (&again.sealing_key, &again.node_name));
        #[cfg(unix)]
        for name in [PEPPER_FILE, SEALING_FILE] {
            let mode = std::os::unix::fs::PermissionsExt::mode(&fs::metadata(data_dir.join(name)).unwrap().permissions());
            assert_eq!(mode & 0o777, 0o600, "{name}");
        }
        assert!(!format!("{first:?}").contains(std::str::from_utf8(&first.pepper.secret).unwrap()));
    }

    #[test]
    fn a_file_moved_to_its_setting_means_the_same() {
        let dir = tempfile::tempdir().unwrap();
        let from_files = load_or_create(dir.path(), &Settings::default()).unwrap();
        let mut settings = Settings::default();
        for (name, setting) in [(PEPPER_FILE, &mut settings.security.key_pepper), (SEALING_FILE, &mut settings.security.upstream_key)] {
            *setting = Some(Secret::new(fs::read_to_string(dir.path().join(name)).unwrap().trim()));
            fs::remove_file(dir.path().join(name)).unwrap();
        }
        settings.server.node_name = Some("a".to_owned());
        let from_settings = load_or_create(dir.path(), &settings).unwrap();
        assert!(from_files.pepper == from_settings.pepper);
        assert_eq!(from_files.sealing_key, from_settings.sealing_key);
        assert_eq!((from_settings.node_name.as_str(), from_settings.pepper_created), ("a", false));
        assert!(!dir.path().join(PEPPER_FILE).exists());
    }

    #[test]
    fn damage_is_not_overwritten() {
        let dir = tempfile::tempdir().unwrap();
        for text in ["", "abc"] {
            fs::write(dir.path().join(PEPPER_FILE), text).unwrap();
            let error = load_or_create(dir.path(), &Settings::default()).unwrap_err();
            assert!(error.to_string().contains("key_pepper is damaged"), "{error}");
            assert_eq!(fs::read_to_string(dir.path().join(PEPPER_FILE)).unwrap(), text);
        }
    }

    #[test]
    fn a_pepper_that_is_replaced_stays_known() {
        let dir = tempfile::tempdir().unwrap();
        let settings = Settings::default();
        let first = load_or_create(dir.path(), &settings).unwrap();
        assert_eq!(rotate_pepper(dir.path(), &settings, |_| true).unwrap(), 2);
        let second = load_or_create(dir.path(), &settings).unwrap();
        assert_eq!((second.pepper.version, second.pepper_created), (2, false));
        assert!(second.pepper.secret != first.pepper.secret && second.former_peppers == [first.pepper.clone()]);
        // Nothing is kept under the first any more, but the second may be in use.
        assert_eq!(rotate_pepper(dir.path(), &settings, |version| version != 1).unwrap(), 3);
        let third = load_or_create(dir.path(), &settings).unwrap();
        assert!(third.former_peppers == [second.pepper.clone()]);
        for _ in 0..2 {
            rotate_pepper(dir.path(), &settings, |_| true).unwrap();
        }
        assert!(matches!(rotate_pepper(dir.path(), &settings, |_| true), Err(SecretsError::TooManyPeppers(3))));
        // The same by settings.
        let text = |pepper: &Pepper| String::from_utf8_lossy(&pepper.secret).into_owned();
        let mut settings = Settings::default();
        settings.security.key_pepper = Some(Secret::new(text(&second.pepper)));
        settings.security.key_pepper_version = 2;
        settings.security.previous_key_peppers = vec![Secret::new(format!("1:{}", text(&first.pepper)))];
        let elsewhere = tempfile::tempdir().unwrap();
        let by_settings = load_or_create(elsewhere.path(), &settings).unwrap();
        assert!(by_settings.pepper == second.pepper && by_settings.former_peppers == second.former_peppers);
        assert!(matches!(rotate_pepper(elsewhere.path(), &settings, |_| true), Err(SecretsError::PepperIsASetting)));
    }

    #[test]
    fn one_process_a_folder() {
        let dir = tempfile::tempdir().unwrap();
        let lock = lock_data_dir(dir.path()).unwrap();
        let refused = lock_data_dir(dir.path()).unwrap_err();
        assert!(refused.to_string().starts_with("another pixgate process uses"), "{refused}");
        drop(lock);
        assert!(lock_data_dir(dir.path()).is_ok());
    }
}
