"""Settings, all read from the environment: docs/configuration.md lists every variable, env.py parses them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from cryptography.fernet import Fernet
from csp.constants import NONE, SELF

from ollaproject import host_names, key_settings, logs
from ollaproject.alert_settings import *  # noqa: F403
from ollaproject.env import (
    env_bool,
    env_choice,
    env_choices,
    env_database,
    env_folder,
    env_int,
    env_list,
    env_path,
    env_port,
    env_redis,
    env_size,
    env_str,
    kept_secret,
)
from ollaproject.sign_in_settings import *  # noqa: F403
from ollaproject.telemetry import traces_wanted
from ollaproject.wire.release import VERSION

BASE_DIR = Path(__file__).resolve().parent.parent

# --- Where state lives ------------------------------------------------------------------------------------

OLLA_HOME = env_folder("OLLA_HOME", BASE_DIR / "var")
OLLA_MODELS_DIR = env_path("OLLA_MODELS_DIR", OLLA_HOME / "models")

# --- Secrets ----------------------------------------------------------------------------------------------

SECRET_KEY = kept_secret("OLLA_SECRET_KEY", OLLA_HOME / "secrets" / "secret-key")
# Endpoint credentials are encrypted with the first key and read with any of them, so a key can be rotated.
OLLA_ENCRYPTION_KEYS = [
    key.strip()
    for key in kept_secret(
        "OLLA_ENCRYPTION_KEYS",
        OLLA_HOME / "secrets" / "encryption-keys",
        lambda: Fernet.generate_key().decode(),
    ).split(",")
]
OLLA_KEY_PEPPERS = key_settings.peppers(OLLA_HOME)

# --- The gateway ------------------------------------------------------------------------------------------

OLLA_HOST = env_str("OLLA_HOST", "127.0.0.1")
OLLA_PORT = env_port("OLLA_PORT", 40114)
OLLA_WORKERS = env_int("OLLA_WORKERS", 1, minimum=1)
OLLA_API_AUTH = env_choice("OLLA_API_AUTH", ["remote", "always", "never"], "remote")
# The names that this machine goes by on its network, beside what OLLA_ALLOWED_HOSTS adds. Any other Host is
# refused: a web page must not reach the API by DNS rebinding.
OLLA_ALLOWED_HOSTS = ["localhost", "127.0.0.1", "[::1]", *host_names.names(), *env_list("OLLA_ALLOWED_HOSTS")]
OLLA_KEY_LIMITS = key_settings.OLLA_KEY_LIMITS
OLLA_PERSON_LIMITS = key_settings.OLLA_PERSON_LIMITS
OLLA_TEAM_LIMITS = key_settings.OLLA_TEAM_LIMITS
OLLA_KEYS_PER_PERSON = key_settings.OLLA_KEYS_PER_PERSON
OLLA_REVOKED_STREAMS = key_settings.OLLA_REVOKED_STREAMS
OLLA_KEPT_BODIES_HOURS = key_settings.OLLA_KEPT_BODIES_HOURS
OLLA_KEPT_BODIES_SIZE = key_settings.OLLA_KEPT_BODIES_SIZE
OLLA_RATE_LIMIT_PER_IP = env_int("OLLA_RATE_LIMIT_PER_IP", 0)  # requests per minute, of callers without a key
OLLA_RATE_LIMIT_GLOBAL = env_int("OLLA_RATE_LIMIT_GLOBAL", 0)
OLLA_MAX_BODY_SIZE = env_size("OLLA_MAX_BODY_SIZE", 100 * 1024**2)
OLLA_BODY_MEMORY = env_size("OLLA_BODY_MEMORY", 4 * 1024**2)
OLLA_BODY_DISK = env_size("OLLA_BODY_DISK", 4 * 1024**3)
OLLA_REQUEST_HISTORY_DAYS = env_int("OLLA_REQUEST_HISTORY_DAYS", 7)
OLLA_USAGE_TOTALS = env_bool("OLLA_USAGE_TOTALS", default=True)
OLLA_REQUEST_ADDRESSES = env_choice("OLLA_REQUEST_ADDRESSES", ["full", "hashed", "none"], "hashed")
OLLA_STREAM_USAGE = env_bool("OLLA_STREAM_USAGE", default=True)
OLLA_EMBEDDING_BATCH_SIZE = env_int("OLLA_EMBEDDING_BATCH_SIZE", 256)
OLLA_SHARED_COUNTS = env_bool("OLLA_SHARED_COUNTS", default=True)
OLLA_LOAD_BALANCER = env_choice(
    "OLLA_LOAD_BALANCER",
    ["cache-aware", "priority", "round-robin", "least-connections", "least-latency"],
    "cache-aware",
)
OLLA_ROUTING_STRATEGY = env_choice("OLLA_ROUTING_STRATEGY", ["strict", "optimistic", "discovery"], "strict")
OLLA_ROUTING_FALLBACK = env_choice(
    "OLLA_ROUTING_FALLBACK", ["compatible_only", "all", "none"], "compatible_only"
)
OLLA_BACKEND_TYPES = env_list("OLLA_BACKEND_TYPES")  # globs, those to leave out with a ! before them
OLLA_DISCOVERY_TIMEOUT = env_int("OLLA_DISCOVERY_TIMEOUT", 2, minimum=1)  # seconds
OLLA_STICKY_SESSIONS = env_bool("OLLA_STICKY_SESSIONS", default=False)
OLLA_STICKY_KEY_SOURCES = env_choices(
    "OLLA_STICKY_KEY_SOURCES",
    ["session_header", "prefix_hash", "auth_header", "ip"],
    ["session_header", "prefix_hash", "auth_header"],
)
OLLA_STICKY_IDLE_TTL = env_int("OLLA_STICKY_IDLE_TTL", 600, minimum=1)  # seconds
OLLA_STICKY_MAX_SESSIONS = env_int("OLLA_STICKY_MAX_SESSIONS", 10_000, minimum=1)
OLLA_STICKY_PREFIX_BYTES = env_int("OLLA_STICKY_PREFIX_BYTES", 512, minimum=1)
OLLA_QUEUE_SIZE = env_int("OLLA_QUEUE_SIZE", 100)
OLLA_QUEUE_TIMEOUT = env_int("OLLA_QUEUE_TIMEOUT", 30)  # seconds
OLLA_FAILURES_TO_GO_DOWN = env_int("OLLA_FAILURES_TO_GO_DOWN", 2, minimum=1)
OLLA_SUCCESSES_TO_COME_BACK = env_int("OLLA_SUCCESSES_TO_COME_BACK", 1, minimum=1)
OLLA_SLOW_START = env_int("OLLA_SLOW_START", 10)  # seconds
OLLA_CHECK_HISTORY_HOURS = env_int("OLLA_CHECK_HISTORY_HOURS", 24, minimum=1)
OLLA_MINUTE_HISTORY_DAYS = env_int("OLLA_MINUTE_HISTORY_DAYS", 1, minimum=1)
OLLA_HOUR_HISTORY_DAYS = env_int("OLLA_HOUR_HISTORY_DAYS", 31, minimum=2)
OLLA_DAY_HISTORY_DAYS = env_int("OLLA_DAY_HISTORY_DAYS", 366, minimum=1)

# --- The local model --------------------------------------------------------------------------------------

OLLA_MODEL = env_str("OLLA_MODEL", "demo")
OLLA_EMBEDDING_MODEL = env_str("OLLA_EMBEDDING_MODEL", "demo" if OLLA_MODEL == "demo" else "")
OLLA_MODEL_PORT = env_port("OLLA_MODEL_PORT", 40115)
OLLA_MODEL_MEMORY = env_size("OLLA_MODEL_MEMORY", 0)  # 0: all that the machine has
OLLA_WAKE_TIMEOUT = env_int("OLLA_WAKE_TIMEOUT", 120)  # seconds
OLLA_MAKE_ROOM = env_bool("OLLA_MAKE_ROOM", default=True)
OLLA_WITHOUT_MODEL = env_bool("OLLA_WITHOUT_MODEL", default=False)
OLLA_GATEWAY_ONLY = env_bool("OLLA_GATEWAY_ONLY", default=False)

# --- Django -----------------------------------------------------------------------------------------------

DEBUG = env_bool("OLLA_DEBUG", default=False)
ALLOWED_HOSTS = OLLA_ALLOWED_HOSTS
ROOT_URLCONF = "ollaproject.urls"
ASGI_APPLICATION = "ollaproject.asgi.application"

INSTALLED_APPS = [
    "ollaproject",  # its `runserver` is Daphne's, which as an app would load Twisted in every process
    "endpoints",
    "proxy",
    "inference",
    "ollaproject.admin_app.GatewayAdminConfig",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.humanize",
    "django.contrib.messages",
    "django.contrib.sessions",
    "whitenoise.runserver_nostatic",
    "django.contrib.staticfiles",
    "channels",
    "axes",
    "csp",
    "django_htmx",
    "rest_framework",
    "drf_spectacular",
    "drf_spectacular_sidecar",
]

MIDDLEWARE = [
    "ollaproject.forwarded.ForwardedMiddleware",  # first: all others see who asks
    "django.middleware.security.SecurityMiddleware",
    "ollaproject.static.StaticFilesMiddleware",
    "csp.middleware.CSPMiddleware",
    "ollaproject.no_nul.NoNulMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.locale.LocaleMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "ollaproject.acting.ActingMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
    "axes.middleware.AxesMiddleware",
]

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
        },
    },
]

# --- Database, broker, channel layer: no server needed, PostgreSQL and Redis when their URLs are set ------

REDIS_URL = env_redis("REDIS_URL")

DATABASES = {"default": env_database("DATABASE_URL", f"sqlite:///{OLLA_HOME / 'olla.sqlite3'}")}
if DATABASES["default"]["ENGINE"] == "django.db.backends.sqlite3":
    # Without the first four, concurrent writers fail with "database is locked". Every atomic() then takes the
    # write lock at once, so reads belong outside of it. What macOS calls a sync does not reach the disk:
    # without the fifth, a power cut may damage the file there.
    DATABASES["default"]["OPTIONS"] = {
        "timeout": 20,
        "transaction_mode": "IMMEDIATE",
        "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL; PRAGMA checkpoint_fullfsync=ON;",
    }
    # The test database is a file too: a server, a worker and the test itself read it side by side.
    DATABASES["default"]["TEST"] = {"NAME": str(OLLA_HOME / "test.sqlite3")}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

if REDIS_URL:
    CHANNEL_LAYERS: dict[str, Any] = {
        "default": {"BACKEND": "channels_redis.core.RedisChannelLayer", "CONFIG": {"hosts": [REDIS_URL]}}
    }
else:
    CHANNEL_LAYERS = {"default": {"BACKEND": "channels.layers.InMemoryChannelLayer"}}

CELERY_BROKER_URL = REDIS_URL or "filesystem://localhost"
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_BROKER_TRANSPORT_OPTIONS: dict[str, Any] = {"socket_timeout": 5, "socket_connect_timeout": 5}
if not REDIS_URL:
    CELERY_BROKER_TRANSPORT = "ollaproject.broker:Transport"
    _broker = OLLA_HOME / "broker"
    for _folder in ("queue", "control", "processed"):
        (_broker / _folder).mkdir(parents=True, exist_ok=True)
    CELERY_BROKER_TRANSPORT_OPTIONS = {
        "data_folder_in": str(_broker / "queue"),
        "data_folder_out": str(_broker / "queue"),  # producers and the worker share one folder
        "control_folder": str(_broker / "control"),
        "processed_folder": str(_broker / "processed"),
        "polling_interval": 0.1,  # seconds; 0.1 delivers in 60 ms
    }
CELERY_TASK_SERIALIZER = "json"
CELERY_ACCEPT_CONTENT = ["json"]
CELERY_TASK_IGNORE_RESULT = True
CELERY_WORKER_HIJACK_ROOT_LOGGER = False
CELERY_TIMEZONE = "UTC"

# --- What pages may load ----------------------------------------------------------------------------------

CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": [SELF],
        "base-uri": [NONE],
        "connect-src": [SELF],
        "form-action": [SELF],
        "frame-ancestors": [NONE],
        "img-src": [SELF, "data:"],
        "object-src": [NONE],
    }
}

# --- The REST API -----------------------------------------------------------------------------------------

REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": [
        "proxy.access.rest_auth.KeyAuthentication",  # the first one says how to answer who is nobody: 401
        "rest_framework.authentication.SessionAuthentication",
    ],
    "DEFAULT_PERMISSION_CLASSES": ["ollaproject.wire.rest.ModelPermissions"],
    "DEFAULT_FILTER_BACKENDS": ["ollaproject.wire.rest.ListFilters"],
    "DEFAULT_PAGINATION_CLASS": "ollaproject.wire.rest.Pages",
    "DEFAULT_PARSER_CLASSES": ["rest_framework.parsers.JSONParser"],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_SCHEMA_CLASS": "drf_spectacular.openapi.AutoSchema",
    "EXCEPTION_HANDLER": "ollaproject.wire.rest.handle_exception",
    "UNAUTHENTICATED_USER": "django.contrib.auth.models.AnonymousUser",
}
SPECTACULAR_SETTINGS = {
    "TITLE": "ollaproject",
    "DESCRIPTION": "The fleet, its keys and their usage over REST, and what clients of models call.",
    "VERSION": VERSION,
    "SERVE_INCLUDE_SCHEMA": False,
    "SERVE_PERMISSIONS": ["rest_framework.permissions.IsAuthenticated"],
    "SWAGGER_UI_DIST": "SIDECAR",  # served from here, not from a CDN
    "SWAGGER_UI_FAVICON_HREF": "SIDECAR",
    "SWAGGER_UI_SETTINGS": {"persistAuthorization": False, "tryItOutEnabled": False},
    "POSTPROCESSING_HOOKS": [
        "drf_spectacular.hooks.postprocess_schema_enums",
        "ollaproject.openapi.complete",
    ],
    "COMPONENT_SPLIT_REQUEST": True,  # a secret that is written is not in what is read
    "ENUM_NAME_OVERRIDES": {
        "ModeEnum": "endpoints.choices.Mode",
        "StatusEnum": "endpoints.choices.Status",
        "KindEnum": "inference.local.choices.Kind",
        "LocalStateEnum": "inference.local.choices.State",
        "AuthTypeEnum": "endpoints.choices.AuthKind",
    },
}

# --- Pages ------------------------------------------------------------------------------------------------

LANGUAGE_CODE = "en"
LANGUAGES = [("en", "English"), ("de", "Deutsch")]  # the browser says which; the menu of each page too
LOCALE_PATHS = [OLLA_HOME / "locale"]  # compiled from BASE_DIR / "locale" when a process starts (catalogs)
TIME_ZONE = "UTC"
USE_I18N = True
USE_TZ = True
STATIC_URL = "static/"
STATIC_ROOT = OLLA_HOME / "static"
STATIC_ROOT.mkdir(exist_ok=True)  # WhiteNoise warns when it is missing
WHITENOISE_USE_FINDERS = True  # files come straight from their apps, without a collectstatic step

# --- Logs and traces --------------------------------------------------------------------------------------

LOGGING = logs.configuration()
OLLA_TRACES = traces_wanted()
