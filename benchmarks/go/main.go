// The servers that are compared, with gorilla/websocket: `program echo` or `program hub`, then the folder of a
// certificate and what is asked for: tls, deflate. Prints its port; ends with its standard input.
package main

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"os"

	"github.com/gorilla/websocket"
)

// serve is what is done on each connection, until it ends.
type serve func(*websocket.Conn)

func main() {
	kinds := map[string]serve{"echo": echo, "hub": newHub().serve}
	upgrader := websocket.Upgrader{EnableCompression: asked("deflate")}
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		conn, err := upgrader.Upgrade(w, r, nil)
		if err != nil {
			return // it has answered
		}
		defer conn.Close()
		kinds[os.Args[1]](conn)
	})
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	fmt.Println(listener.Addr().(*net.TCPAddr).Port)
	go func() {
		io.Copy(io.Discard, os.Stdin)
		os.Exit(0)
	}()
	if asked("tls") {
		err = http.ServeTLS(listener, handler, os.Args[2]+"/cert.pem", os.Args[2]+"/key.pem")
	} else {
		err = http.Serve(listener, handler)
	}
	panic(err)
}

// asked tells whether a word stands behind the folder of the certificate.
func asked(word string) bool {
	for _, argument := range os.Args[3:] {
		if argument == word {
			return true
		}
	}
	return false
}
