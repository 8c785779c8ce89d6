"""Reading and writing files: on mounted file systems, and through fsspec everywhere else."""

from launcher.storage.filesystems import (
    Listing,
    StorageError,
    expand_home,
    filesystem,
    has_filesystem,
    is_local,
    list_source,
    local_path,
    local_root,
    scheme_of,
)
from launcher.storage.manifest import SnapshotManifest, read_manifest
from launcher.storage.transfer import Download, Stopped, TransferPolicy, download

__all__ = [
    "Download",
    "Listing",
    "SnapshotManifest",
    "Stopped",
    "StorageError",
    "TransferPolicy",
    "download",
    "expand_home",
    "filesystem",
    "has_filesystem",
    "is_local",
    "list_source",
    "local_path",
    "local_root",
    "read_manifest",
    "scheme_of",
]
