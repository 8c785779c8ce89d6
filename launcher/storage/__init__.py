"""Places where bytes lie: mounted file systems, and through fsspec everything else."""

from launcher.storage.disk import (
    DiskProblem,
    DiskTrouble,
    free_bytes,
    is_disk_full,
    probe_writable,
)
from launcher.storage.manifest import FileEntry, Manifest, read_manifest
from launcher.storage.remote import Source, SourceFile, StorageError, filesystem, list_source
from launcher.storage.transfer import Download, Stopped, TransferPolicy, download
from launcher.storage.uri import is_local, local_path, local_root, scheme_of

__all__ = [
    "DiskProblem",
    "DiskTrouble",
    "Download",
    "FileEntry",
    "Manifest",
    "Source",
    "SourceFile",
    "Stopped",
    "StorageError",
    "TransferPolicy",
    "download",
    "filesystem",
    "free_bytes",
    "is_disk_full",
    "is_local",
    "list_source",
    "local_path",
    "local_root",
    "probe_writable",
    "read_manifest",
    "scheme_of",
]
