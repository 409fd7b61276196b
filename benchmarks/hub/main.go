// The room of a program that uses gorilla/websocket, as its own chat example teaches: a goroutine that reads and one
// that writes for each member, a queue for each, and one PreparedMessage for all. Prints its port; ends with its
// standard input. Arguments: the folder of a certificate, and what is asked for: tls, compressed.
package main

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"sync"

	"github.com/gorilla/websocket"
)

type hub struct {
	mutex   sync.RWMutex
	members map[chan *websocket.PreparedMessage]bool
}

func (h *hub) broadcast(message *websocket.PreparedMessage) {
	h.mutex.RLock()
	defer h.mutex.RUnlock()
	for queue := range h.members {
		select {
		case queue <- message:
		default: // full: a member that is too slow misses it
		}
	}
}

func main() {
	room := &hub{members: map[chan *websocket.PreparedMessage]bool{}}
	upgrader := websocket.Upgrader{EnableCompression: asked("compressed")}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	fmt.Println(listener.Addr().(*net.TCPAddr).Port)
	go func() {
		io.Copy(io.Discard, os.Stdin)
		os.Exit(0)
	}()
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		conn, err := upgrader.Upgrade(w, r, nil)
		if err != nil {
			return
		}
		defer conn.Close()
		queue := make(chan *websocket.PreparedMessage, 256)
		room.mutex.Lock()
		room.members[queue] = true
		room.mutex.Unlock()
		go func() {
			for message := range queue {
				if conn.WritePreparedMessage(message) != nil {
					conn.Close()
				}
			}
		}()
		for {
			kind, data, err := conn.ReadMessage()
			if err != nil {
				break
			}
			message, _ := websocket.NewPreparedMessage(kind, data)
			room.broadcast(message)
		}
		room.mutex.Lock()
		delete(room.members, queue)
		room.mutex.Unlock()
		close(queue)
	})
	if asked("tls") {
		http.ServeTLS(listener, handler, os.Args[1]+"/cert.pem", os.Args[1]+"/key.pem")
	} else {
		http.Serve(listener, handler)
	}
}

// asked tells whether a flag stands behind the folder of the certificate.
func asked(flag string) bool {
	for _, argument := range os.Args[2:] {
		if argument == flag {
			return true
		}
	}
	return false
}
