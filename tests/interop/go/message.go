package main

import (
	"encoding/json"
	"errors"

	"github.com/gorilla/websocket"
)

// message travels as JSON: a string for text, {binary: "..."} for bytes, one character each.
type message struct {
	kind int
	data []byte
}

type binary struct {
	Binary string `json:"binary"`
}

func (m message) MarshalJSON() ([]byte, error) {
	if m.kind == websocket.TextMessage {
		return json.Marshal(string(m.data))
	}
	characters := make([]rune, len(m.data))
	for index, each := range m.data {
		characters[index] = rune(each)
	}
	return json.Marshal(binary{string(characters)})
}

func (m *message) UnmarshalJSON(source []byte) error {
	var text string
	if json.Unmarshal(source, &text) == nil {
		m.kind, m.data = websocket.TextMessage, []byte(text)
		return nil
	}
	var found binary
	if err := json.Unmarshal(source, &found); err != nil {
		return err
	}
	m.kind, m.data = websocket.BinaryMessage, make([]byte, 0, len(found.Binary))
	for _, each := range found.Binary {
		m.data = append(m.data, byte(each))
	}
	return nil
}

// end is how a connection ended.
type end struct {
	Code   int    `json:"code"`
	Reason string `json:"reason"`
}

// endOf is what the error that ended the reading says: the close frame's code and reason, or 1006 and the error's text.
func endOf(err error) end {
	var closed *websocket.CloseError
	if errors.As(err, &closed) {
		return end{closed.Code, closed.Text}
	}
	return end{websocket.CloseAbnormalClosure, err.Error()}
}
