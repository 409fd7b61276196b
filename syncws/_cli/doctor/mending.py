"""The lines that mend a finding, for each program that may stand on the way.

A topic is one thing to change. Where a program does it right by itself, its entry says what to take out; a program
without an entry has no part in it.
"""

from __future__ import annotations

#: Programs that stand in front of an application, by the names that --front takes, and how they are written.
FRONTS = {
    "nginx": "nginx",
    "caddy": "Caddy",
    "haproxy": "HAProxy",
    "traefik": "Traefik",
    "apache": "Apache",
    "alb": "ALB",
    "cloudflare": "Cloudflare",
}

#: Programs that are the application, or run it.
BEHIND = {"gunicorn": "gunicorn", "app": "app", "system": "system"}

NAMES = {**FRONTS, **BEHIND}

_TOPICS: dict[str, dict[str, str]] = {
    "upgrade": {
        "nginx": "proxy_http_version 1.1;\n"
        "proxy_set_header Upgrade $http_upgrade;\n"
        'proxy_set_header Connection "upgrade";',
        "caddy": "reverse_proxy 127.0.0.1:8080   (no header_up -Connection, -Upgrade)",
        "haproxy": "mode http   (no http-request del-header Upgrade or Connection)",
        "traefik": "no customRequestHeaders Upgrade or Connection",
        "apache": 'ProxyPass "/" "http://127.0.0.1:8080/" upgrade=websocket',
        "alb": "target group: ProtocolVersion HTTP1",
        "cloudflare": "Network > WebSockets: on",
    },
    "http-version": {
        "nginx": "proxy_http_version 1.1;",
        "caddy": "reverse_proxy 127.0.0.1:8080   (no transport http { versions h2c })",
        "haproxy": "server app 127.0.0.1:8080   (no proto h2)",
        "traefik": "url: http://127.0.0.1:8080   (not h2c://)",
        "apache": "no SetEnv force-proxy-request-1.0, no downgrade-1.0",
        "alb": "target group: ProtocolVersion HTTP1",
    },
    "host": {
        "nginx": "proxy_set_header Host $host;   ($host:$server_port on another port)",
        "caddy": "no header_up Host; Caddy passes it by itself",
        "haproxy": "no http-request set-header Host; HAProxy passes it by itself",
        "traefik": "passHostHeader: true",
        "apache": "ProxyPreserveHost On",
        "alb": "routing.http.preserve_host_header.enabled = true",
        "app": 'Upgrader(allowed_origins=["https://app.example.com"])',
    },
    "origin": {
        "nginx": 'no proxy_set_header Origin ""',
        "caddy": "no header_up -Origin",
        "haproxy": "no http-request del-header Origin",
        "traefik": "no customRequestHeaders Origin",
        "apache": "no RequestHeader unset Origin",
        "app": 'Upgrader()   (no allowed_origins=["*"], no check_origin that is always true)',
    },
    "forwarded": {
        "nginx": "proxy_set_header X-Forwarded-For $remote_addr;\nproxy_set_header X-Forwarded-Proto $scheme;",
        "caddy": "no header_up -X-Forwarded-For; Caddy sets both by itself",
        "haproxy": "http-request set-header X-Forwarded-For %[src]\n"
        "http-request set-header X-Forwarded-Proto https if { ssl_fc }",
        "traefik": "nothing: Traefik sets both by itself",
        "apache": 'RequestHeader set X-Forwarded-For "expr=%{REMOTE_ADDR}"\n'
        'RequestHeader set X-Forwarded-Proto "expr=%{REQUEST_SCHEME}"',
        "alb": "routing.http.xff_header_processing.mode = append",
    },
    "credentials": {
        "nginx": 'no proxy_set_header Cookie "" or Authorization ""',
        "caddy": "no header_up -Cookie or -Authorization",
        "haproxy": "no http-request del-header Cookie or Authorization",
        "traefik": "basicAuth: removeHeader: false",
        "apache": "no RequestHeader unset Cookie or Authorization",
    },
    "path": {
        "nginx": "proxy_pass http://app;   (nothing after the name, not even a slash)",
        "caddy": "handle /ws* { ... }   (not handle_path, no uri strip_prefix)",
        "haproxy": "no http-request set-path or replace-path",
        "traefik": "no stripPrefix or replacePath middleware",
        "apache": 'ProxyPass "/ws" "http://127.0.0.1:8080/ws" upgrade=websocket',
        "alb": "a rule that forwards the path to the target group",
        "app": "a route of this path",
    },
    "upstream": {
        "nginx": "upstream app { server 127.0.0.1:8080; }   (where the application listens)",
        "caddy": "reverse_proxy 127.0.0.1:8080   (where the application listens)",
        "haproxy": "server app 127.0.0.1:8080   (where the application listens)",
        "traefik": "url: http://127.0.0.1:8080   (where the application listens)",
        "apache": 'ProxyPass "/" "http://127.0.0.1:8080/" upgrade=websocket',
        "alb": "a healthy target; the health check's path answers 200",
        "app": "see that it runs, and on which address it listens",
    },
    "subprotocol": {
        "nginx": 'no proxy_set_header Sec-WebSocket-Protocol ""',
        "caddy": "no header_up -Sec-WebSocket-Protocol",
        "haproxy": "no http-request del-header Sec-WebSocket-Protocol",
        "traefik": "no customRequestHeaders Sec-WebSocket-Protocol",
        "apache": "no RequestHeader unset Sec-WebSocket-Protocol",
        "app": 'Upgrader(subprotocols=["NAME"])',
    },
    "compression": {
        "nginx": 'no proxy_set_header Sec-WebSocket-Extensions ""',
        "caddy": "no header_up -Sec-WebSocket-Extensions",
        "haproxy": "no http-request del-header Sec-WebSocket-Extensions",
        "traefik": "no customRequestHeaders Sec-WebSocket-Extensions",
        "apache": "no RequestHeader unset Sec-WebSocket-Extensions",
        "app": "Upgrader(enable_compression=True)",
    },
    "idle": {
        "nginx": "proxy_read_timeout 3600s;\nproxy_send_timeout 3600s;",
        "caddy": "no stream_timeout; Caddy itself cuts nothing that is idle",
        "haproxy": "timeout tunnel 1h",
        "traefik": "nothing: Traefik itself cuts no idle WebSocket",
        "apache": "Timeout 3600   (the longer of Timeout and ProxyTimeout counts)",
        "alb": "idle_timeout.timeout_seconds = 3600",
        "cloudflare": "100 s are fixed: ping more often",
        "gunicorn": "-k gthread   (a sync worker that a view holds is killed after --timeout)",
        "app": "Upgrader(ping_interval=20)   (well below the patience of what is in front)",
    },
    "connections": {
        "gunicorn": "-k gthread --threads 8   (one sync worker serves one request at a time)",
        "app": "detach=None   (the default; detach=False holds a thread of the server for each)",
        "nginx": "worker_rlimit_nofile 20480;\nevents { worker_connections 10240; }",
        "haproxy": "maxconn 20000   (in global, and maxconn of each server)",
        "caddy": "LimitNOFILE=65536   (of its systemd unit)",
        "traefik": "no inFlightReq middleware, or a larger amount",
        "apache": "ThreadsPerChild 64\nMaxRequestWorkers 4096   (mpm_event: a worker for each WebSocket)",
    },
    "large": {
        "app": "Upgrader(read_limit=4 << 20)   (bytes of one message)",
        "nginx": "nothing: nginx, as the others here, passes any size",
    },
    "latency": {
        "nginx": "tcp_nodelay on;   (the default)",
        "haproxy": "option http-no-delay",
        "app": "answer from the handler; long work goes into another thread",
    },
    "redirect": {
        "app": "connect to the address that it leads to: no browser follows it",
        "nginx": "location /ws { proxy_pass http://app; }   (no return 301 for it)",
    },
    "login": {"app": "-H 'Cookie: ...', -H 'Authorization: ...', or --user, to be let in"},
    "certificate": {
        "nginx": "ssl_certificate /etc/ssl/certs/fullchain.pem;   (the chain, not the leaf alone)",
        "caddy": "app.example.com { ... }   (Caddy gets and renews it by itself)",
        "haproxy": "bind :443 ssl crt /etc/haproxy/fullchain-and-key.pem",
        "traefik": "tls: certResolver: letsencrypt",
        "apache": "SSLCertificateFile /etc/ssl/certs/fullchain.pem",
        "alb": "a certificate of ACM that is issued for this name",
    },
    "tls": {
        "nginx": "ssl_protocols TLSv1.2 TLSv1.3;",
        "caddy": "tls { protocols tls1.2 tls1.3 }",
        "haproxy": "ssl-default-bind-options ssl-min-ver TLSv1.2",
        "traefik": "minVersion: VersionTLS12",
        "apache": "SSLProtocol -all +TLSv1.2 +TLSv1.3",
        "alb": "ssl-policy: ELBSecurityPolicy-TLS13-1-2-2021-06",
    },
    "unencrypted": {
        "nginx": "listen 80; return 301 https://$host$request_uri;",
        "caddy": "app.example.com { ... }   (Caddy redirects by itself)",
        "haproxy": "http-request redirect scheme https unless { ssl_fc }",
        "traefik": "redirections: entryPoint: { to: websecure, scheme: https }",
        "apache": 'Redirect permanent "/" "https://app.example.com/"',
        "alb": "a listener of port 80 that redirects to HTTPS 443",
    },
    "ping": {"app": "set_ping_handler(None)   (syncws answers pings by itself, as RFC 6455 5.5.2 demands)"},
    "early": {
        "caddy": "nothing: Caddy 2.6 drops it; clients have to wait for the 101",
        "app": "clients have to wait for the 101, as RFC 6455 4.1 says and browsers do",
    },
    "close": {
        "app": "end the handler, or conn.close(code): leave with the closing handshake",
        "haproxy": "timeout client-fin 30s",
    },
    "restart": {
        "app": "handle SIGTERM: syncws.Server does; elsewhere call syncws.wsgi.shutdown()",
        "nginx": "worker_shutdown_timeout 1h;   (nginx -s reload then cuts nobody earlier)",
        "haproxy": "hard-stop-after 1h",
        "caddy": "grace_period 1h\nstream_close_delay 1h",
        "alb": "deregistration_delay.timeout_seconds = 3600",
    },
    "host-allowed": {"app": 'allowed_hosts=["app.example.com"]   (the name that people type)'},
    "wsgi-server": {
        "gunicorn": "gunicorn -k gthread --threads 8 app:app",
        "app": "syncws serve app:app",
    },
    # This machine
    "descriptors": {"system": "LimitNOFILE=20000   (systemd)\nulimit -n 20000     (a shell)"},
    "threads": {"system": "TasksMax=20000   (systemd)\nulimit -u 20000   (a shell)\n--pids-limit 20000   (docker)"},
    "threads-max": {"system": "sysctl -w kernel.threads-max=100000 vm.max_map_count=262144"},
    "memory": {"system": "MemoryMax=2G   (systemd)\n--memory 2g   (docker)"},
    "backlog": {"system": "sysctl -w net.core.somaxconn=4096 net.ipv4.tcp_max_syn_backlog=4096"},
    "ports": {"system": "sysctl -w net.ipv4.ip_local_port_range='1024 65535'"},
    "buffers": {"system": "sysctl -w net.ipv4.tcp_rmem='4096 131072 6291456'"},
    "numpy": {"app": "pip install 'syncws[fast]'"},
    "hiredis": {"app": "pip install 'syncws[redis]'"},
    "python": {"system": "Python 3.11 or later"},
    # An application
    "allowed-origins": {"app": 'Upgrader(allowed_origins=["https://app.example.com"])   (the pages that may connect)'},
    "proxy-fix": {
        "app": "from werkzeug.middleware.proxy_fix import ProxyFix\n"
        "app.wsgi_app = ProxyFix(app.wsgi_app, x_for=1, x_proto=1)"
    },
    "backplane": {"app": 'Manager(backplane=syncws.LocalBackplane("/run/app/bus"))'},
    "gunicorn-sync": {"gunicorn": 'worker_class = "gthread"\nthreads = 8'},
    "gunicorn-preload": {"gunicorn": "preload_app = False   (or start threads in post_fork)"},
    "gunicorn-http2": {"gunicorn": 'http_protocols = "h1"'},
}


def mending(*topics: str) -> tuple[tuple[str, str], ...]:
    """The lines of these topics: pairs of a program and its lines, in the order of the table.

    A line that two topics have is there once.
    """
    lines: dict[str, list[str]] = {}
    for topic in topics:
        for program, text in _TOPICS[topic].items():
            there = lines.setdefault(program, [])
            there += [line for line in text.splitlines() if line not in there]
    return tuple((program, "\n".join(there)) for program, there in lines.items())


def topics() -> dict[str, dict[str, str]]:
    """The whole table, for whoever compares it with something."""
    return _TOPICS
