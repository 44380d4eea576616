"""Settings of sign-in: accounts, lockout, OpenID Connect, cookies, and the proxies before us."""

from __future__ import annotations

from datetime import timedelta

from ollaproject.env import env_bool, env_choice, env_int, env_list, env_pairs, env_secret, env_str

LOGIN_URL = "login"
LOGIN_REDIRECT_URL = "dashboard"
LOGOUT_REDIRECT_URL = "login"
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator", "OPTIONS": {"min_length": 10}},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
]
AUTHENTICATION_BACKENDS = [
    "axes.backends.AxesStandaloneBackend",  # first: it refuses whoever is locked out
    "django.contrib.auth.backends.ModelBackend",
]

# --- Failed attempts are counted by address, and then lock it out -----------------------------------------

OLLA_SIGN_IN_ATTEMPTS = env_int("OLLA_SIGN_IN_ATTEMPTS", 10)  # 0: no lockout
OLLA_SIGN_IN_LOCKOUT = env_int("OLLA_SIGN_IN_LOCKOUT", 15, minimum=1)  # minutes
AXES_ENABLED = OLLA_SIGN_IN_ATTEMPTS > 0
AXES_FAILURE_LIMIT = OLLA_SIGN_IN_ATTEMPTS
AXES_COOLOFF_TIME = timedelta(minutes=OLLA_SIGN_IN_LOCKOUT)
# By name, anybody could keep anybody else out.
AXES_LOCKOUT_PARAMETERS = ["ip_address"]
AXES_RESET_ON_SUCCESS = True
AXES_RESET_COOL_OFF_ON_FAILURE_DURING_LOCKOUT = False
AXES_CLIENT_IP_CALLABLE = "ollaproject.forwarded.address_of"
AXES_LOCKOUT_CALLABLE = "ollaproject.lockout.page"
AXES_DISABLE_ACCESS_LOG = True  # who has signed in is Django's last_login
AXES_VERBOSE = False

# --- OpenID Connect ---------------------------------------------------------------------------------------

OLLA_OIDC_ISSUER = env_str("OLLA_OIDC_ISSUER")
OLLA_OIDC_NAME = env_str("OLLA_OIDC_NAME", "single sign-on")
OLLA_OIDC_GROUPS_CLAIM = env_str("OLLA_OIDC_GROUPS_CLAIM", "groups")
OLLA_OIDC_ROLES = env_pairs("OLLA_OIDC_ROLES")
OLLA_OIDC_TEAMS = env_list("OLLA_OIDC_TEAMS")
OLLA_OIDC_DEFAULT_ROLE = env_choice(
    "OLLA_OIDC_DEFAULT_ROLE", ["viewer", "member", "lead", "operator", "admin", "none"], "member"
)
OIDC_RP_CLIENT_ID = env_str("OLLA_OIDC_CLIENT_ID")
OIDC_RP_CLIENT_SECRET = env_secret("OLLA_OIDC_CLIENT_SECRET")
OIDC_RP_SCOPES = env_str("OLLA_OIDC_SCOPES", "openid email profile")
OIDC_RP_SIGN_ALGO = env_choice("OLLA_OIDC_ALGORITHM", ["RS256", "RS384", "RS512", "ES256", "ES384"], "RS256")
OIDC_USE_PKCE = True
OIDC_TIMEOUT = 10  # seconds
if OLLA_OIDC_ISSUER:
    AUTHENTICATION_BACKENDS.append("proxy.access.oidc.Backend")

# --- Cookies, https, and the proxy before us --------------------------------------------------------------

# Set it when people reach the gateway through https: cookies then travel on https only, and http is
# redirected.
OLLA_HTTPS = env_bool("OLLA_HTTPS", default=False)
SECURE_SSL_REDIRECT = OLLA_HTTPS
SECURE_HSTS_SECONDS = 365 * 24 * 3600 if OLLA_HTTPS else 0
SECURE_HSTS_INCLUDE_SUBDOMAINS = OLLA_HTTPS
SECURE_HSTS_PRELOAD = OLLA_HTTPS
SESSION_COOKIE_SECURE = OLLA_HTTPS
CSRF_COOKIE_SECURE = OLLA_HTTPS
SESSION_COOKIE_NAME = "olla_session"
CSRF_COOKIE_NAME = "olla_csrf"
CSRF_TRUSTED_ORIGINS = env_list("OLLA_CSRF_TRUSTED_ORIGINS")
X_FRAME_OPTIONS = "DENY"
SECURE_REFERRER_POLICY = "same-origin"
OLLA_TRUSTED_PROXIES = env_list("OLLA_TRUSTED_PROXIES")
# What others than OLLA_TRUSTED_PROXIES say there, ollaproject.forwarded takes away.
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
USE_X_FORWARDED_HOST = True
# Whose pages may call the API from a browser: origins, or * for any. None unless it is said.
OLLA_CORS_ORIGINS = env_list("OLLA_CORS_ORIGINS")
