"""Settings: flags, then ``VERMILION_*`` in the environment, then a TOML file, then the defaults."""

import os
from collections.abc import Container
from pathlib import Path
from socket import gethostname
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from vermilion_pipeline.errors import VermilionError

CONFIG_FILE = "vermilion.toml"
_SECRET_WORDS = (
    "password", "passphrase", "secret", "key.pem", "token", "sasl.jaas", "kinit.cmd", "oauthbearer.config",
    "oauthbearer.extensions",
)  # fmt: skip


class SettingsError(VermilionError):
    """A setting that is wrong; says which, where it may come from, and what is expected."""


class Settings(BaseSettings):
    """What every command that talks to Kafka knows."""

    model_config = SettingsConfigDict(env_prefix="VERMILION_", extra="forbid", validate_default=True)

    bootstrap_servers: str = "127.0.0.1:9092"
    topic_prefix: str = "vermilion."
    registry_url: str | None = None
    kafka: dict[str, str] = {}
    """Any librdkafka setting, passed through."""
    kafka_secret_files: dict[str, Path] = {}
    """librdkafka settings whose value is read from a file, such as ``sasl.password``."""
    instance: str | None = None
    """A stable name of this replica (a StatefulSet's ordinal); without one, a name for this run."""
    sensor: str = gethostname()
    interface: list[str] = []
    """What ``capture`` reads when no file is named."""
    bpf: str | None = None
    promiscuous: bool = False
    snaplen: int = Field(262_144, ge=64, le=262_144)
    ring_mib: int = Field(64, ge=2, le=4_096)
    workers: int = Field(1, ge=1, le=32)
    depth: int = Field(16_384, ge=0)
    exclude_port: list[Annotated[int, Field(ge=0, le=65_535)]] = []
    exclude_network: list[str] = []
    transport: list[Literal["tcp", "udp"]] = Field(["tcp", "udp"], min_length=1)
    key_log: Path | None = None
    """The key log by whose secrets ``fingerprint`` decrypts TLS connections."""
    batch_records: int = Field(1_000, ge=1)
    batch_wait_seconds: float = Field(0.1, ge=0.0)
    http_host: str = "127.0.0.1"
    http_port: int = Field(0, ge=0, le=65_535)
    """Port of /healthz, /readyz and /metrics; 0: none."""
    log_style: Literal["json", "human"] | None = None
    log_level: Literal["debug", "info", "warning", "error"] = "info"

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Flags, environment, file; nothing else."""
        return (init_settings, env_settings, TomlConfigSettingsSource(settings_cls, toml_file=config_file()))

    def kafka_config(self) -> dict[str, str]:
        """librdkafka's settings, secrets read in. Raises SettingsError."""
        config = {"bootstrap.servers": self.bootstrap_servers, **self.kafka}
        for name, path in self.kafka_secret_files.items():
            config[name] = _secret(name, path)
        return config


def config_file() -> Path:
    """The TOML file: ``VERMILION_CONFIG``, or ``vermilion.toml`` in the working folder."""
    return Path(os.environ.get("VERMILION_CONFIG") or CONFIG_FILE)


def load(**flags: Any) -> Settings:
    """Settings with ``flags`` (None: not given) first. Raises SettingsError."""
    named = os.environ.get("VERMILION_CONFIG")
    if named and not Path(named).is_file():
        raise SettingsError(f"{named}: no such file (named by VERMILION_CONFIG)")
    try:
        return Settings(**{name: value for name, value in flags.items() if value is not None})
    except ValidationError as error:
        raise SettingsError(
            "; ".join(
                f"{'.'.join(str(part) for part in item['loc'])}: {item['msg']}" for item in error.errors()
            )
            + f" (flag, VERMILION_* or {config_file()})"
        ) from None
    except ValueError as error:  # TOML that is none, an environment variable that is no JSON
        raise SettingsError(f"{config_file()} or VERMILION_*: {error}") from None


def _secret(name: str, path: Path) -> str:
    """What stands in ``path`` for librdkafka's setting ``name``, without a last line's end."""
    try:
        secret = path.read_text(encoding="utf-8").rstrip("\r\n")
    except OSError as error:
        raise SettingsError(f"kafka_secret_files: {name}: {path}: {error.strerror}") from None
    except UnicodeDecodeError as error:  # the error itself would show the bytes
        raise SettingsError(
            f"kafka_secret_files: {name}: {path}: no UTF-8 at byte {error.start}; write it anew as text"
        ) from None
    if not secret:
        raise SettingsError(f"kafka_secret_files: {name}: {path}: is empty; write the secret into it")
    return secret


def masked(config: dict[str, str], of_files: Container[str] = ()) -> dict[str, str]:
    """librdkafka's settings for printing: secrets are starred, and whatever comes of a secret's file."""
    return {name: "***" if is_secret(name) or name in of_files else value for name, value in config.items()}


def is_secret(name: str) -> bool:
    """Whether librdkafka's setting ``name`` holds a secret, rather than a file's name."""
    return any(word in name for word in _SECRET_WORDS) and not name.endswith((".location", ".url"))
