package main

import (
	"sync"

	"github.com/gorilla/websocket"
)

// hub is a room as gorilla's own chat example teaches it: a goroutine that reads and one that writes for each member, a
// queue for each, and one PreparedMessage for all.
type hub struct {
	mutex   sync.RWMutex
	members map[chan *websocket.PreparedMessage]bool
}

func newHub() *hub {
	return &hub{members: map[chan *websocket.PreparedMessage]bool{}}
}

func (h *hub) serve(conn *websocket.Conn) {
	queue := make(chan *websocket.PreparedMessage, 256)
	h.mutex.Lock()
	h.members[queue] = true
	h.mutex.Unlock()
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
		h.broadcast(message)
	}
	h.mutex.Lock()
	delete(h.members, queue)
	h.mutex.Unlock()
	close(queue)
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
