"""The promises about stuck peers, crossed closes, limits, bad input and cost, tested over real sockets.

Each file says at its top what it proves. The sizes are small by default; SYNCWS_HEAVY=1 gives the full ones, and
SYNCWS_HEAVY=full adds what takes minutes.
"""
