package main

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"math/rand"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"github.com/gorilla/websocket"
)

var errEnded = errors.New("the connection ended, and what was waited for did not come")

// peer is a connection with a goroutine that reads it all the time: gorilla answers pings and closes while it is read.
type peer struct {
	conn     *websocket.Conn
	messages chan message  // closed at the end
	pongs    chan string   // what pongs carried
	over     chan struct{} // closed at the end, when `end` is there
	end      end
}

func newPeer(conn *websocket.Conn) *peer {
	// More room than any test leaves unread.
	p := &peer{conn: conn, messages: make(chan message, 1000), pongs: make(chan string, 10), over: make(chan struct{})}
	conn.SetPongHandler(func(data string) error {
		p.pongs <- data
		return nil
	})
	go p.read()
	return p
}

func (p *peer) read() {
	for {
		kind, data, err := p.conn.ReadMessage()
		if err != nil {
			p.end = endOf(err)
			p.conn.Close()
			close(p.messages)
			close(p.over)
			return
		}
		p.messages <- message{kind, data}
	}
}

func (p *peer) receive() (message, error) {
	found, open := <-p.messages
	if !open {
		return message{}, errEnded
	}
	return found, nil
}

// counted is a TCP connection that knows how often it was written to: gorilla writes a frame at a time.
type counted struct {
	net.Conn
	writes int64
}

func (c *counted) Write(data []byte) (int, error) {
	atomic.AddInt64(&c.writes, 1)
	return c.Conn.Write(data)
}

// client has one connection at a time.
type client struct {
	*peer
	tcp *counted
}

func clientMethods() map[string]method {
	c := &client{}
	return map[string]method{
		"open":          c.open,
		"send":          c.send,
		"sendFragments": c.sendFragments,
		"receive":       func(arguments) (any, error) { return c.receive() },
		"echoes":        c.echoes,
		"ping":          c.ping,
		"close":         c.close,
		"closed":        func(arguments) (any, error) { return c.closed() },
	}
}

// open connects, and says what was agreed on, or with which status the server refused.
func (c *client) open(args arguments) (any, error) {
	var url string
	var options struct {
		Subprotocols    []string
		Origin          string
		Compression     bool
		CA              string // the authority (PEM) to trust
		WriteBufferSize int    // 0: gorilla's own
	}
	if err := args.into(&url, &options); err != nil {
		return nil, err
	}
	if c.peer != nil {
		c.conn.Close()
	}
	dialer := websocket.Dialer{
		Subprotocols:      options.Subprotocols,
		EnableCompression: options.Compression,
		TLSClientConfig:   trusting(options.CA),
		WriteBufferSize:   options.WriteBufferSize,
		HandshakeTimeout:  patience,
		NetDial:           c.dial,
	}
	headers := http.Header{}
	if options.Origin != "" {
		headers.Set("Origin", options.Origin)
	}
	conn, response, err := dialer.Dial(url, headers)
	if errors.Is(err, websocket.ErrBadHandshake) {
		return map[string]int{"status": response.StatusCode}, nil
	}
	if err != nil {
		return nil, err
	}
	c.peer = newPeer(conn)
	extensions := response.Header.Get("Sec-WebSocket-Extensions")
	return map[string]string{"subprotocol": conn.Subprotocol(), "extensions": extensions}, nil
}

func (c *client) dial(network, address string) (net.Conn, error) {
	conn, err := net.Dial(network, address)
	if err != nil {
		return nil, err
	}
	c.tcp = &counted{Conn: conn}
	return c.tcp, nil
}

func trusting(authority string) *tls.Config {
	if authority == "" {
		return nil
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM([]byte(authority))
	return &tls.Config{RootCAs: roots}
}

func (c *client) send(args arguments) (any, error) {
	var whole message
	if err := args.into(&whole); err != nil {
		return nil, err
	}
	return nil, c.conn.WriteMessage(whole.kind, whole.data)
}

// sendFragments writes the pieces into one message, and says how many frames that made. gorilla has no call that ends a
// fragment: it sends one whenever its write buffer is full (of compressed bytes, with compression) and more is to come,
// whatever the pieces are. Through the ReadFrom that its writer has without compression, a full buffer leaves before
// the end is known: where the message ends with the buffer, the last fragment is empty.
func (c *client) sendFragments(args arguments) (any, error) {
	var pieces []message
	if err := args.into(&pieces); err != nil {
		return nil, err
	}
	before := atomic.LoadInt64(&c.tcp.writes)
	writer, err := c.conn.NextWriter(pieces[0].kind)
	if err != nil {
		return nil, err
	}
	for _, piece := range pieces {
		// io.Copy would rather use the WriteTo of a bytes.Reader, which the struct hides.
		if _, err = io.Copy(writer, struct{ io.Reader }{bytes.NewReader(piece.data)}); err != nil {
			return nil, err
		}
	}
	err = writer.Close()
	return atomic.LoadInt64(&c.tcp.writes) - before, err
}

// echoes says whether a large message comes back as it was: "text", or bytes that are "zeros" or "random".
func (c *client) echoes(args arguments) (any, error) {
	var content string
	var size int
	if err := args.into(&content, &size); err != nil {
		return nil, err
	}
	whole := message{websocket.BinaryMessage, make([]byte, size)}
	switch content {
	case "text":
		whole = message{websocket.TextMessage, []byte(strings.Repeat("ü", size/2))}
	case "random":
		rand.New(rand.NewSource(1)).Read(whole.data)
	}
	if err := c.conn.WriteMessage(whole.kind, whole.data); err != nil {
		return nil, err
	}
	found, err := c.receive()
	return found.kind == whole.kind && bytes.Equal(found.data, whole.data), err
}

// ping waits for the pong, and says what it carried.
func (c *client) ping(args arguments) (any, error) {
	var data string
	if err := args.into(&data); err != nil {
		return nil, err
	}
	if err := c.conn.WriteControl(websocket.PingMessage, []byte(data), time.Now().Add(patience)); err != nil {
		return nil, err
	}
	select {
	case pong := <-c.pongs:
		return pong, nil
	case <-c.over:
		return nil, errEnded
	}
}

// close is gorilla's closing handshake: a close frame (empty without a code), then reading on until the server's comes.
func (c *client) close(args arguments) (any, error) {
	code, reason := websocket.CloseNoStatusReceived, ""
	if err := args.into(&code, &reason); err != nil {
		return nil, err
	}
	payload := websocket.FormatCloseMessage(code, reason)
	if err := c.conn.WriteControl(websocket.CloseMessage, payload, time.Now().Add(patience)); err != nil {
		return nil, err
	}
	return c.closed()
}

func (c *client) closed() (any, error) {
	<-c.over
	return c.end, nil
}
