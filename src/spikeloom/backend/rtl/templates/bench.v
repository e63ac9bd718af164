// Drives the network with golden vectors and compares every answer.
//   vvp bench.vvp                 one sample after the other: LATENCY lines give its cycles
//   vvp bench.vvp +pipelined      samples back to back
//   vvp bench.vvp +stalls         both sides pause at random
`timescale 1ns / 1ps

module bench;
  parameter BEATS = @BEATS@;
  parameter SAMPLES = @SAMPLES@;
  localparam OUTPUTS = @OUTPUTS@;
  localparam TICKS = @TICKS@;
  localparam IN = @IN@;
  localparam OUT = @OUT@;
  localparam PATIENCE = @PATIENCE@;

  reg clk = 0;
  reg rst = 1;
  always #5 clk = !clk;

  reg [IN:0] beats[0:BEATS-1];  // tlast, then the word
  reg [OUT-1:0] expected[0:SAMPLES*OUTPUTS-1];
  reg [1023:0] file;
  reg pipelined, stalls;
  initial begin
    if (!$value$plusargs("beats=%s", file)) file = "test/beats.hex";
    $readmemh(file, beats);
    if (!$value$plusargs("expected=%s", file)) file = "test/expected.hex";
    $readmemh(file, expected);
    pipelined = $test$plusargs("pipelined");
    stalls = $test$plusargs("stalls");
    repeat (4) @(posedge clk);
    rst <= 0;
  end

  integer sent = 0, ticks = 0, begun = 0, answered = 0, done = 0;
  integer cycle = 0, start = 0, quiet = 0, wrong = 0;
  reg fresh = 1, bad = 0, offer = 1, take = 1;

  wire in_valid = !rst && offer && sent < BEATS && (pipelined || begun == done);
  wire in_ready, out_valid, out_last;
  wire [IN:0] beat = beats[sent];
  wire [OUT-1:0] out_data;
  wire out_ready = !rst && take;
  wire accepted = in_valid && in_ready;
  wire answer = out_valid && out_ready;
  wire final_answer = answered % OUTPUTS == OUTPUTS - 1;
  wire differs = out_data !== expected[answered] || out_last !== final_answer;

  spikeloom dut (
      .clk(clk), .rst(rst),
      .s_axis_tdata(beat[IN-1:0]), .s_axis_tlast(beat[IN]), .s_axis_tvalid(in_valid), .s_axis_tready(in_ready),
      .m_axis_tdata(out_data), .m_axis_tlast(out_last), .m_axis_tvalid(out_valid), .m_axis_tready(out_ready)
  );

  always @(posedge clk) if (!rst) begin
    cycle <= cycle + 1;
    quiet <= accepted || answer ? 0 : quiet + 1;
    if (!offer || accepted) offer <= !stalls || $random;
    take <= !stalls || $random;
    if (in_valid && fresh && begun == done) begin
      start <= cycle;
      fresh <= 0;
    end
    if (accepted) begin
      sent <= sent + 1;
      if (beat[IN]) begin
        ticks <= ticks == TICKS - 1 ? 0 : ticks + 1;
        if (ticks == TICKS - 1) begun <= begun + 1;
      end
    end
    if (answer) begin
      answered <= answered + 1;
      bad <= bad || differs;
      if (final_answer) begin
        if (bad || differs) wrong = wrong + 1;
        if (!pipelined) $display("LATENCY %0d", cycle - start + 1);
        bad <= 0;
        fresh <= 1;
        done <= done + 1;
      end
      if (answered == SAMPLES * OUTPUTS - 1) begin
        $display("SAMPLES %0d MISMATCHES %0d CYCLES %0d", SAMPLES, wrong, cycle + 1);
        $finish;
      end
    end
    if (quiet > PATIENCE) begin
      $display("STUCK after %0d answers", answered);
      $finish;
    end
  end
endmodule
