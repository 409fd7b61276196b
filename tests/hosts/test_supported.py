"""The tests of `cases`, with each set-up that is supported."""

from __future__ import annotations

from tests.partners import heavy

from . import servers
from .cases import HostCases


class GunicornSyncTests(HostCases):
    setup = servers.GUNICORN_SYNC


class GunicornGthreadTests(HostCases):
    setup = servers.GUNICORN_GTHREAD


@heavy
class GunicornGthreadUnixTests(HostCases):
    setup = servers.GUNICORN_GTHREAD_UNIX


@heavy
class GunicornGthreadTLSTests(HostCases):
    setup = servers.GUNICORN_GTHREAD_TLS


@heavy
class GunicornGeventTests(HostCases):
    setup = servers.GUNICORN_GEVENT


@heavy
class GunicornGeventTLSTests(HostCases):
    setup = servers.GUNICORN_GEVENT_TLS


@heavy
class GunicornPywsgiTests(HostCases):
    setup = servers.GUNICORN_PYWSGI


@heavy
class OldGunicornSyncTests(HostCases):
    setup = servers.OLD_GUNICORN_SYNC


@heavy
class OldGunicornGthreadTests(HostCases):
    setup = servers.OLD_GUNICORN_GTHREAD


@heavy
class OldGunicornGeventTests(HostCases):
    setup = servers.OLD_GUNICORN_GEVENT


@heavy
class OldGunicornEventletTests(HostCases):
    setup = servers.OLD_GUNICORN_EVENTLET


class WerkzeugTests(HostCases):
    setup = servers.WERKZEUG


@heavy
class WerkzeugSingleTests(HostCases):
    setup = servers.WERKZEUG_SINGLE


@heavy
class WerkzeugTLSTests(HostCases):
    setup = servers.WERKZEUG_TLS


@heavy
class FlaskRunTests(HostCases):
    setup = servers.FLASK_RUN


@heavy
class RunserverTests(HostCases):
    setup = servers.RUNSERVER


@heavy
class WsgirefTests(HostCases):
    setup = servers.WSGIREF


@heavy
class WsgirefSingleTests(HostCases):
    setup = servers.WSGIREF_SINGLE


@heavy
class CherootTests(HostCases):
    setup = servers.CHEROOT


@heavy
class CherootTLSTests(HostCases):
    setup = servers.CHEROOT_TLS


@heavy
class WaitressTests(HostCases):
    setup = servers.WAITRESS


@heavy
class PywsgiTests(HostCases):
    setup = servers.PYWSGI


@heavy
class PywsgiTLSTests(HostCases):
    setup = servers.PYWSGI_TLS


@heavy
class EventletTests(HostCases):
    setup = servers.EVENTLET


@heavy
class UWSGITests(HostCases):
    setup = servers.UWSGI


@heavy
class Rocket3Tests(HostCases):
    setup = servers.ROCKET3


@heavy
class Rocket3TLSTests(HostCases):
    setup = servers.ROCKET3_TLS


class OwnTests(HostCases):
    setup = servers.OWN


@heavy
class OwnTLSTests(HostCases):
    setup = servers.OWN_TLS


# The module's loader finds tests in every class it sees, and the cases alone have no set-up.
del HostCases
