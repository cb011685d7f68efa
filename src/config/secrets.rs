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
use crate::{clock::fill_random, telemetry::redact::Secret};

const PEPPER_FILE: &str = "key_pepper";
const SEALING_FILE: &str = "sealing_key";
const NODE_FILE: &str = "node_id";
const LOCK_FILE: &str = "lock";

/// Made once at start.
#[derive(Clone)]
pub struct Secrets {
    /// Keys the hash of API keys.
    pub pepper: Zeroizing<Vec<u8>>,
    /// Encrypts the upstreams' keys in the database (256 bits).
    pub sealing_key: Zeroizing<[u8; 32]>,
    /// `server.node_name`, else an id that stays with the data folder.
    pub node_name: String,
    /// True when the pepper was made just now: no key in the database can match it.
    pub pepper_created: bool,
    /// True when the sealing key was made just now: no sealed upstream key can be opened with it.
    pub sealing_key_created: bool,
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
    let (pepper, pepper_created) = secret(settings.security.key_pepper.as_ref(), &data_dir.join(PEPPER_FILE))?;
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
    let pepper = Zeroizing::new(pepper.expose().as_bytes().to_vec());
    Ok(Secrets { pepper, sealing_key, node_name, pepper_created, sealing_key_created })
}

fn secret(setting: Option<&Secret>, path: &Path) -> Result<(Secret, bool), SecretsError> {
    if let Some(text) = setting {
        return Ok((text.clone(), false));
    }
    let (text, created) = read_or_create(path, random_hex)?;
    let intact = text.expose().len() == 64 && text.expose().bytes().all(|byte| byte.is_ascii_hexdigit());
    if !intact {
        return Err(SecretsError::Damaged { path: path.to_owned(), what: "it should hold 64 hexadecimal characters" });
    }
    Ok((text, created))
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
        assert_eq!((first.pepper.len(), &first.node_name[..5]), (64, "node-"));
        assert_eq!((&first.pepper, &first.sealing_key, &first.node_name), (&again.pepper, &again.sealing_key, &again.node_name));
        #[cfg(unix)]
        for name in [PEPPER_FILE, SEALING_FILE] {
            let mode = std::os::unix::fs::PermissionsExt::mode(&fs::metadata(data_dir.join(name)).unwrap().permissions());
            assert_eq!(mode & 0o777, 0o600, "{name}");
        }
        assert!(!format!("{first:?}").contains(std::str::from_utf8(&first.pepper).unwrap()));
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
        assert_eq!((from_files.pepper, from_files.sealing_key), (from_settings.pepper, from_settings.sealing_key));
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
    fn one_process_a_folder() {
        let dir = tempfile::tempdir().unwrap();
        let lock = lock_data_dir(dir.path()).unwrap();
        let refused = lock_data_dir(dir.path()).unwrap_err();
        assert!(refused.to_string().starts_with("another pixgate process uses"), "{refused}");
        drop(lock);
        assert!(lock_data_dir(dir.path()).is_ok());
    }
}
