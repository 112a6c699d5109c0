"""Which HTTP fields belong to a fingerprint, and how much of them; names in lower case."""

# pmercury's form has every field; these with the value, all others by name alone.
REQUEST_WITH_VALUE = frozenset(
    {
        b"accept",
        b"accept-encoding",
        b"accept-language",
        b"cache-control",
        b"connection",
        b"content-length",
        b"dnt",
        b"dpr",
        b"intervention",
        b"upgrade-insecure-requests",
        b"viewport-width",
        b"x-requested-with",
    }
)
# These only when they are written in lower case: pmercury compares them as they stand.
REQUEST_WITH_VALUE_IF_LOWER = frozenset(
    {
        b"content-type",
        b"origin",
    }
)
RESPONSE_WITH_VALUE = frozenset(
    {
        b"access-control-allow-headers",
        b"access-control-allow-methods",
        b"connection",
        b"content-encoding",
        b"pragma",
        b"referrer-policy",
        b"server",
        b"strict-transport-security",
        b"vary",
        b"version",
        b"x-cache",
        b"x-powered-by",
        b"x-xss-protection",
    }
)

# mercury's form has these fields and no others.
NPF_REQUEST_WITH_VALUE = frozenset(
    {
        b"accept",
        b"accept-encoding",
        b"connection",
        b"dnt",
        b"dpr",
        b"upgrade-insecure-requests",
        b"x-requested-with",
    }
)
NPF_REQUEST_BY_NAME = frozenset(
    {
        b"accept-charset",
        b"accept-language",
        b"authorization",
        b"cache-control",
        b"host",
        b"if-modified-since",
        b"keep-alive",
        b"user-agent",
        b"x-flash-version",
        b"x-p2p-peerdist",
    }
)
NPF_RESPONSE_WITH_VALUE = frozenset(
    {
        b"access-control-allow-credentials",
        b"access-control-allow-headers",
        b"access-control-allow-methods",
        b"access-control-expose-headers",
        b"cache-control",
        b"connection",
        b"content-language",
        b"content-transfer-encoding",
        b"p3p",
        b"pragma",
        b"server",
        b"strict-transport-security",
        b"x-aspnet-version",
        b"x-aspnetmvc-version",
        b"x-cid",
        b"x-ms-version",
        b"x-xss-protection",
    }
)
NPF_RESPONSE_BY_NAME = frozenset(
    {
        b"appex-activity-id",
        b"cdnuuid",
        b"cf-ray",
        b"content-range",
        b"content-type",
        b"date",
        b"etag",
        b"expires",
        b"flow_context",
        b"ms-cv",
        b"ms-requestid",
        b"msregion",
        b"request-id",
        b"vary",
        b"x-amz-cf-pop",
        b"x-amz-request-id",
        b"x-azure-ref-originshield",
        b"x-cache",
        b"x-cache-hits",
        b"x-ccc",
        b"x-diagnostic-s",
        b"x-feserver",
        b"x-hw",
        b"x-msedge-ref",
        b"x-ocsp-responder-id",
        b"x-requestid",
        b"x-served-by",
        b"x-timer",
        b"x-trace-context",
    }
)
