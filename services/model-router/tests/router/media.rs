//! Pictures and documents, through the contract.

use bulkhead_proto::router::v1 as pb;
use pb::content_block::Block;
use tonic_types::StatusExt as _;

use crate::bench::{Plan, bench, reason, request};

fn with(blocks: Vec<Block>) -> pb::GenerateRequest {
    let mut asked = request();
    let content =
        blocks.into_iter().map(|block| pb::ContentBlock { block: Some(block), ..Default::default() });
    asked.messages[0].content.extend(content);
    asked
}

fn image(media_type: &str, content: &[u8]) -> Block {
    Block::Image(pb::Image { media_type: media_type.into(), content: content.to_vec() })
}

fn document(media_type: &str, content: &[u8]) -> Block {
    let title = "Minutes".to_owned();
    Block::Document(pb::Document { media_type: media_type.into(), content: content.to_vec(), title })
}

#[tokio::test]
async fn a_picture_reaches_every_provider_and_a_pdf_those_that_read_it() {
    for (provider, reads_pdf) in
        [("anthropic", true), ("openai", true), ("openai-compatible", false), ("ollama", false)]
    {
        let bench = bench(Plan { cloud_provider: provider, ..Plan::default() }).await;
        let seen = bench.generate(with(vec![image("image/png", b"PNG")])).await.expect("answers");
        assert_eq!(seen.model, "primary", "{provider}");
        let asked =
            pb::GenerateRequest { route: "cloud".into(), ..with(vec![document("application/pdf", b"PDF")]) };
        match bench.generate(asked).await {
            Ok(answer) => assert!(reads_pdf && answer.model == "primary", "{provider}"),
            Err(status) => {
                assert!(!reads_pdf && reason(&status) == "REQUEST_NOT_EXPRESSIBLE", "{provider} {status:?}")
            }
        }
    }
}

#[tokio::test]
async fn what_is_no_picture_and_no_document_is_told_by_its_place() {
    let bench = bench(Plan::default()).await;
    let wrong = with(vec![
        image("image/tiff", b"x"),
        image("image/png", b""),
        document("text/html", b"x"),
        document("text/plain", &[0xff, b'x']),
    ]);
    let status = bench.generate(wrong).await.expect_err("refused");
    let violations = status.get_details_bad_request().expect("violations").field_violations;
    let fields: Vec<&str> = violations.iter().map(|violation| violation.field.as_str()).collect();
    let expected = [
        "messages[0].content[1].image.media_type",
        "messages[0].content[2].image.content",
        "messages[0].content[3].document.media_type",
        "messages[0].content[4].document.content",
    ];
    assert_eq!(fields, expected);
    assert_eq!(bench.counts().await, [0, 0, 0]);
}
