"""agreement.py: what is offered, what is answered, and what each side makes of it (RFC 7692 section 7.1)."""

from __future__ import annotations

import itertools
import unittest

from syncws._frames.agreement import Agreement, Terms, accept_answer, accept_offers, offer

NAME = "permessage-deflate"
BOTH = "permessage-deflate; server_no_context_takeover; client_no_context_takeover"

Parameter = tuple[str, str | None]

SERVER_FLAG = ("server_no_context_takeover", None)
CLIENT_FLAG = ("client_no_context_takeover", None)

ALONE = Terms()
TAKEOVER = Terms(takeover=True)


def server_bits(value: str | None) -> Parameter:
    return ("server_max_window_bits", value)


def client_bits(value: str | None) -> Parameter:
    return ("client_max_window_bits", value)


def parsed(header: str) -> list[tuple[str, list[Parameter]]]:
    """A header's one extension."""
    name, *parameters = header.split("; ")
    return [(name, [(key, value or None) for key, _, value in (each.partition("=") for each in parameters)])]


def accepted(*parameters: Parameter, terms: Terms = ALONE) -> Agreement:
    """What a server makes of one offer."""
    agreement = accept_offers([(NAME, list(parameters))], terms)
    assert agreement is not None
    return agreement


def answered(*parameters: Parameter, terms: Terms = ALONE) -> Agreement:
    """What a client makes of an answer."""
    agreement = accept_answer([(NAME, list(parameters))], terms)
    assert agreement is not None
    return agreement


# Not one of these is a window size (RFC 7692 section 7.1.2.1: decimal, 8 to 15, no leading zeros).
BAD_BITS = ("", "7", "16", "08", "010", "+10", "-10", " 10", "10 ", "1e1", "0xa", "x", "٩", "10.0", "99999999999")


class AcceptOffersTests(unittest.TestCase):
    """A server's answer to what a client offers."""

    def test_nothing_offered(self) -> None:
        """Without an offer of permessage-deflate there is no compression."""
        self.assertIsNone(accept_offers([]))
        self.assertIsNone(accept_offers([("x-webkit-deflate-frame", []), ("foo", [("bar", "1")])]))

    def test_contexts(self) -> None:
        """Each combination of what is offered and wanted: the answer's flags, and what each side keeps.

        A side keeps its context unless it was told not to, or has promised not to. A client that was told so unasked
        may not have heard it.
        """
        table = [
            # offered, wanted; then the answer, whether the server keeps its context, and what the client does
            ((), False, (SERVER_FLAG, CLIENT_FLAG), False, "unsure"),
            ((SERVER_FLAG,), False, (SERVER_FLAG, CLIENT_FLAG), False, "unsure"),
            ((CLIENT_FLAG,), False, (SERVER_FLAG, CLIENT_FLAG), False, "forgets"),
            ((SERVER_FLAG, CLIENT_FLAG), False, (SERVER_FLAG, CLIENT_FLAG), False, "forgets"),
            ((), True, (), True, "keeps"),
            ((SERVER_FLAG,), True, (SERVER_FLAG,), False, "keeps"),
            ((CLIENT_FLAG,), True, (CLIENT_FLAG,), True, "forgets"),
            ((SERVER_FLAG, CLIENT_FLAG), True, (SERVER_FLAG, CLIENT_FLAG), False, "forgets"),
        ]
        for offered, takeover, flags, keeps, peer in table:
            with self.subTest(offered=offered, takeover=takeover):
                agreement = accepted(*offered, terms=Terms(takeover=takeover))
                self.assertEqual(parsed(agreement.header), [(NAME, list(flags))])
                self.assertEqual(agreement.takeover, keeps)
                self.assertEqual(agreement.peer, peer)

    def test_windows(self) -> None:
        """Each combination of windows that is offered and wanted, with and without takeover."""
        for own, theirs, most, takeover in itertools.product(
            (None, 9, 12, 15), (None, "any", 8, 9, 12, 15), (9, 11, 15), (False, True)
        ):
            with self.subTest(own=own, theirs=theirs, most=most, takeover=takeover):
                parameters = [server_bits(str(own))] if own else []
                if theirs is not None:
                    parameters.append(client_bits(None if theirs == "any" else str(theirs)))
                agreement = accepted(*parameters, terms=Terms(takeover=takeover, bits=most, memory=3))
                ((_, told),) = parsed(agreement.header)
                bits = {key: int(value) for key, value in told if value is not None}

                ours = min(own or 15, most)
                self.assertEqual(agreement.outbound_bits, ours)
                self.assertEqual(bits.get("server_max_window_bits"), ours if own or ours < 15 else None)
                # The client's window is named in the answer only if the offer has it, and never grows.
                asked = None if theirs is None else min(15 if theirs == "any" else int(theirs), most)
                self.assertEqual(bits.get("client_max_window_bits"), asked)
                self.assertEqual(agreement.inbound_bits, 15 if asked is None else max(asked, 9))
                self.assertEqual(agreement.memory, 3)

    def test_the_order_is_the_clients(self) -> None:
        """The windows are answered in the order of the offer."""
        for parameters in itertools.permutations([server_bits("12"), client_bits("11")]):
            ((_, told),) = parsed(accepted(*parameters, terms=TAKEOVER).header)
            self.assertEqual(told, list(parameters))

    def test_server_window_of_8_is_declined(self) -> None:
        """zlib cannot compress with a window of 256 bytes, so that offer is declined."""
        self.assertIsNone(accept_offers([(NAME, [server_bits("8")])]))
        self.assertIsNone(accept_offers([(NAME, [server_bits("8")])], TAKEOVER))

    def test_malformed_offers_are_declined(self) -> None:
        """Unknown, repeated and malformed parameters decline an offer and never raise; gorilla accepts them."""
        bad: list[list[Parameter]] = [
            [("unknown", None)],
            [("unknown_param", "3"), server_bits("10")],
            [("", None)],
            [("Server_No_Context_Takeover", None)],
            [("server_no_context_takeover", "")],
            [("server_no_context_takeover", "1")],
            [("client_no_context_takeover", "true")],
            [SERVER_FLAG, SERVER_FLAG],
            [CLIENT_FLAG, SERVER_FLAG, CLIENT_FLAG],
            [server_bits("10"), server_bits("10")],
            [server_bits("10"), server_bits("11")],
            [client_bits(None), client_bits(None)],
            [client_bits(None), client_bits("10")],
            [server_bits(None)],
        ]
        bad += [[server_bits(value)] for value in BAD_BITS]
        bad += [[client_bits(value)] for value in BAD_BITS]
        for parameters, terms in itertools.product(bad, (Terms(), TAKEOVER)):
            with self.subTest(parameters=parameters):
                self.assertIsNone(accept_offers([(NAME, parameters)], terms))

    def test_first_acceptable_offer_wins(self) -> None:
        """Offers are tried in the client's order (RFC 7692 section 5): those that cannot be served are passed over."""
        offers: list[tuple[str, list[Parameter]]] = [
            ("other", []),
            (NAME, [("unknown", None)]),
            (NAME, [server_bits("8")]),
            (NAME, [server_bits("12")]),
            (NAME, []),
        ]
        agreement = accept_offers(offers)
        assert agreement is not None
        self.assertEqual(agreement.outbound_bits, 12)

    def test_name_must_match_exactly(self) -> None:
        """Another extension, however similar its name, is another extension."""
        for name in ("permessage-deflat", "permessage-deflate2", "Permessage-Deflate", ""):
            self.assertIsNone(accept_offers([(name, [])]))


class OfferTests(unittest.TestCase):
    """What a client offers."""

    def test_offer(self) -> None:
        """No context takeover both ways unless it is wanted; a window that the server may limit; smaller ones."""
        self.assertEqual(offer(), f"{BOTH}; client_max_window_bits")
        self.assertEqual(offer(TAKEOVER), f"{NAME}; client_max_window_bits")
        small = "server_max_window_bits=10; client_max_window_bits=10"
        self.assertEqual(offer(Terms(bits=10)), f"{BOTH}; {small}")
        self.assertEqual(offer(Terms(takeover=True, bits=10)), f"{NAME}; {small}")

    def test_both_sides_agree(self) -> None:
        """Whatever this library's server and client want, the client takes the server's answer, and they agree."""
        wanted = [Terms(takeover=takeover, bits=bits) for takeover in (False, True) for bits in (9, 12, 15)]
        for ours, theirs in itertools.product(wanted, wanted):
            with self.subTest(ours=ours, theirs=theirs):
                server = accept_offers(parsed(offer(theirs)), ours)
                assert server is not None
                client = accept_answer(parsed(server.header), theirs)
                assert client is not None
                both = ours.takeover and theirs.takeover
                told = "unsure" if theirs.takeover else "forgets"
                self.assertEqual((server.takeover, client.takeover), (both, both))
                self.assertEqual(client.peer, "keeps" if both else "forgets")
                self.assertEqual(server.peer, "keeps" if both else told)
                # What one side compresses with fits into the window that the other has for it.
                self.assertEqual(server.outbound_bits, client.inbound_bits)
                self.assertEqual(client.outbound_bits, server.inbound_bits)
                self.assertEqual(server.outbound_bits, min(ours.bits, theirs.bits))


class AcceptAnswerTests(unittest.TestCase):
    """What a client makes of the server's answer to its offer."""

    def test_no_answer(self) -> None:
        """A server that answers with no extension wants none."""
        self.assertIsNone(accept_answer([]))

    def test_contexts(self) -> None:
        """Each combination of what is answered and was wanted: what each side keeps.

        A server that does not say that it forgets may keep its context, though it was asked not to: Tornado drops what
        has no value. This side may always forget its own.
        """
        for first, second, takeover in itertools.product((False, True), (False, True), (False, True)):
            flags = [SERVER_FLAG] * first + [CLIENT_FLAG] * second
            for parameters in itertools.permutations(flags):
                with self.subTest(parameters=parameters, takeover=takeover):
                    agreement = answered(*parameters, terms=Terms(takeover=takeover))
                    self.assertEqual(agreement.takeover, takeover and not second)
                    self.assertEqual(agreement.peer, "forgets" if first else "keeps")

    def test_client_window(self) -> None:
        """The answer's client_max_window_bits bounds what is sent; 8, which zlib cannot do, means uncompressed."""
        for bits, most in itertools.product(range(9, 16), (9, 12, 15)):
            terms = Terms(takeover=True, bits=most)
            agreement = answered(client_bits(str(bits)), server_bits("9"), terms=terms)
            self.assertEqual(agreement.outbound_bits, min(bits, most))
        agreement = answered(SERVER_FLAG, client_bits("8"), terms=TAKEOVER)
        self.assertEqual(agreement.outbound_bits, 0)
        self.assertIsNone(agreement.compressor(1))

    def test_server_window(self) -> None:
        """A server may say how large its window is, unasked too (RFC 7692 section 7.1.2.1); zlib's smallest is 9."""
        for bits in range(8, 16):
            self.assertEqual(answered(server_bits(str(bits))).inbound_bits, max(bits, 9))
        self.assertEqual(answered().inbound_bits, 15)

    def test_server_window_that_is_too_large(self) -> None:
        """A server that was asked for a smaller window and does not say so is refused, with the option's name."""
        for parameters in ([], [server_bits("11")], [SERVER_FLAG, server_bits("15")]):
            with self.assertRaisesRegex(ValueError, "without server_max_window_bits=10, .* max_window_bits=15 asks"):
                accept_answer([(NAME, parameters)], Terms(bits=10))
        for bits in ("8", "9", "10"):
            self.assertIsNotNone(accept_answer([(NAME, [server_bits(bits)])], Terms(bits=10)))

    def test_what_was_not_offered_is_refused(self) -> None:
        """Another extension, or a second one, fails the handshake; gorilla ignores them."""
        answers: list[list[tuple[str, list[Parameter]]]] = [
            [("other", [])],
            [(NAME, [SERVER_FLAG]), ("other", [])],
            [(NAME, [SERVER_FLAG]), (NAME, [SERVER_FLAG])],
        ]
        for answer in answers:
            with self.subTest(answer=answer), self.assertRaises(ValueError):
                accept_answer(answer)

    def test_another_extension_is_named(self) -> None:
        """Another extension is refused by its name, whatever its parameters are: ours, or unknown ones."""
        for parameters in ([SERVER_FLAG], [("bits", "1")]):
            with self.assertRaisesRegex(ValueError, "the extension 'permessage-bzip2', which was not offered"):
                accept_answer([("permessage-bzip2", parameters)])

    def test_malformed_answers_are_refused(self) -> None:
        """Unknown, repeated and malformed parameters are a ValueError that names the parameter."""
        bad: list[Parameter] = [
            ("unknown", None),
            SERVER_FLAG,
            ("client_no_context_takeover", "1"),
            client_bits(None),
            server_bits(None),
        ]
        bad += [server_bits(value) for value in BAD_BITS]
        bad += [client_bits(value) for value in BAD_BITS]
        for parameter in bad:
            with self.subTest(parameter=parameter), self.assertRaisesRegex(ValueError, parameter[0]):
                accept_answer([(NAME, [SERVER_FLAG, parameter])])


class AgreementTests(unittest.TestCase):
    """What is made for a connection."""

    def test_what_is_kept(self) -> None:
        """A compressor where this side keeps its context, a window where the peer does, or may."""
        for takeover, peer in itertools.product((False, True), ("forgets", "keeps", "unsure")):
            agreement = Agreement(15, takeover=takeover, peer=peer)  # type: ignore[arg-type]
            self.assertEqual(agreement.compressor(1) is not None, takeover)
            window = agreement.window()
            self.assertEqual(window is not None, peer != "forgets")
            if window is not None:
                self.assertEqual(window.on_trial, peer == "unsure")


if __name__ == "__main__":
    unittest.main()
