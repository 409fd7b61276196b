package main

import (
	"crypto/tls"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/gorilla/websocket"
)

// server is one that listens, with the paths that ../servers.py describes.
type server struct {
	listener net.Listener
	http     http.Server
	upgrader websocket.Upgrader
	ends     chan end // how connections ended, in order
}

// servers are any number, each known by its port.
type servers map[int]*server

func serverMethods() map[string]method {
	s := servers{}
	return map[string]method{"listen": s.listen, "ended": s.ended, "close": s.close}
}

func (s servers) listen(args arguments) (any, error) {
	var options struct {
		Cert, Key    string // paths of PEM files
		Compression  bool
		Subprotocols []string
	}
	if err := args.into(&options); err != nil {
		return nil, err
	}
	listener, err := listen(options.Cert, options.Key)
	if err != nil {
		return nil, err
	}
	added := &server{
		listener: listener,
		upgrader: websocket.Upgrader{EnableCompression: options.Compression, Subprotocols: options.Subprotocols},
		ends:     make(chan end, 1000), // more room than any test leaves unasked for
	}
	added.http.Handler = added
	added.http.ErrorLog = log.New(io.Discard, "", 0) // a TLS handshake that the client gives up is what a test wants
	go added.http.Serve(listener)
	port := listener.Addr().(*net.TCPAddr).Port
	s[port] = added
	return port, nil
}

func listen(cert, key string) (net.Listener, error) {
	if cert == "" {
		return net.Listen("tcp", "127.0.0.1:0")
	}
	pair, err := tls.LoadX509KeyPair(cert, key)
	if err != nil {
		return nil, err
	}
	return tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{pair}})
}

func (s servers) find(args arguments) (int, *server, error) {
	var port int
	if err := args.into(&port); err != nil {
		return 0, nil, err
	}
	found := s[port]
	if found == nil {
		return 0, nil, fmt.Errorf("no server at port %d", port)
	}
	return port, found, nil
}

// ended waits for the next connection to end, and gives code and reason.
func (s servers) ended(args arguments) (any, error) {
	_, found, err := s.find(args)
	if err != nil {
		return nil, err
	}
	next := <-found.ends
	return []any{next.Code, next.Reason}, nil
}

func (s servers) close(args arguments) (any, error) {
	port, found, err := s.find(args)
	if err != nil {
		return nil, err
	}
	delete(s, port)
	// http.Server closes only listeners that its Serve has got to, in the other goroutine.
	err = found.listener.Close()
	found.http.Close()
	return nil, err
}

// paths are what the server does on each, until the connection has ended; each returns the error that ended it.
var paths = map[string]func(*websocket.Conn, url.Values) error{
	"/echo":   echo,
	"/stream": stream,
	"/close":  closeAtOnce,
	"/ping":   ping,
	"/large":  large,
	"/vanish": vanish,
}

func (s *server) ServeHTTP(writer http.ResponseWriter, request *http.Request) {
	query := request.URL.Query()
	if request.URL.Path == "/refuse" {
		status, _ := strconv.Atoi(query.Get("status"))
		http.Error(writer, "refused: "+query.Get("status"), status) // ends in a newline
		return
	}
	talk, known := paths[request.URL.Path]
	if !known {
		http.NotFound(writer, request)
		return
	}
	upgrader := s.upgrader
	if request.URL.Path == "/stream" {
		upgrader.WriteBufferSize = 1000 // fragments are of this size
	}
	conn, err := upgrader.Upgrade(writer, request, nil)
	if err != nil {
		return // it has answered
	}
	defer conn.Close()
	s.ends <- endOf(talk(conn, query))
}

func echo(conn *websocket.Conn, _ url.Values) error {
	for {
		kind, data, err := conn.ReadMessage()
		if err != nil {
			return err
		}
		if err = conn.WriteMessage(kind, data); err != nil {
			return err
		}
	}
}

func stream(conn *websocket.Conn, _ url.Values) error {
	for {
		kind, reader, err := conn.NextReader()
		if err != nil {
			return err
		}
		writer, err := conn.NextWriter(kind)
		if err != nil {
			return err
		}
		if _, err = io.Copy(writer, reader); err != nil {
			return err
		}
		if err = writer.Close(); err != nil {
			return err
		}
	}
}

// closeAtOnce is gorilla's closing handshake: a close frame, and reading on until the client's has come.
func closeAtOnce(conn *websocket.Conn, query url.Values) error {
	code, err := strconv.Atoi(query.Get("code"))
	if err != nil {
		return err
	}
	payload := websocket.FormatCloseMessage(code, query.Get("reason")) // empty for 1005
	if err = conn.WriteControl(websocket.CloseMessage, payload, time.Now().Add(patience)); err != nil {
		return err
	}
	return discard(conn)
}

func ping(conn *websocket.Conn, query url.Values) error {
	conn.SetPongHandler(func(data string) error {
		return conn.WriteMessage(websocket.TextMessage, []byte("pong "+data))
	})
	if err := conn.WriteControl(websocket.PingMessage, []byte(query.Get("data")), time.Now().Add(patience)); err != nil {
		return err
	}
	return discard(conn)
}

func large(conn *websocket.Conn, query url.Values) error {
	size, err := strconv.Atoi(query.Get("size"))
	if err != nil {
		return err
	}
	if err = conn.WriteMessage(websocket.BinaryMessage, make([]byte, size)); err != nil {
		return err
	}
	return discard(conn)
}

func vanish(conn *websocket.Conn, _ url.Values) error {
	conn.Close()
	return discard(conn)
}

// discard reads until the connection has ended.
func discard(conn *websocket.Conn) error {
	for {
		if _, _, err := conn.NextReader(); err != nil {
			return err
		}
	}
}
