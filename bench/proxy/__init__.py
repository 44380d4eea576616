"""The request path, measured side by side: direct, through nginx, through the gateway, through any peer."""
