// The network behind two streams of bytes, so that any package has pins enough: words go lowest byte first; in_last counts with a word's
// last byte, out_last is set with the last byte of the last word.
module spikeloom_pins (
    input clk, input rst,
    input [7:0] in_data, input in_valid, input in_last, output in_ready,
    output [7:0] out_data, output out_valid, output out_last, input out_ready
);
  localparam IN = @IN@;
  localparam OUT = @OUT@;

  reg [8*IN-1:0] word = 0;
  reg [3:0] have = 0;
  reg last = 0;
  wire full = have == IN;
  wire word_ready;
  wire [3:0] place = full ? 4'd0 : have;
  assign in_ready = !full || word_ready;
  always @(posedge clk)
    if (rst) have <= 0;
    else if (in_valid && in_ready) begin
      word[8*place+:8] <= in_data;
      last <= in_last;
      have <= place + 4'd1;
    end else if (full && word_ready) have <= 0;

  reg [8*OUT-1:0] answer = 0;
  reg [3:0] left = 0;
  reg final_answer = 0;
  wire [8*OUT-1:0] answer_data;
  wire answer_valid, answer_last;
  wire free = left == 0 || (left == 1 && out_ready);
  assign out_data = answer[7:0];
  assign out_valid = left != 0;
  assign out_last = final_answer && left == 1;
  always @(posedge clk)
    if (rst) left <= 0;
    else if (answer_valid && free) begin
      answer <= answer_data;
      final_answer <= answer_last;
      left <= OUT;
    end else if (out_valid && out_ready) begin
      answer <= answer >> 8;
      left <= left - 4'd1;
    end

  spikeloom network (
      .clk(clk), .rst(rst),
      .s_axis_tdata(word), .s_axis_tlast(last), .s_axis_tvalid(full), .s_axis_tready(word_ready),
      .m_axis_tdata(answer_data), .m_axis_tlast(answer_last), .m_axis_tvalid(answer_valid), .m_axis_tready(free)
  );
endmodule
